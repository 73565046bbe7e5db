"""Commands, run as a user would, but in this process."""

from click.testing import CliRunner

from moco_dl.cli import main


def run(*arguments, code=0):
    """Its result; the exit status must be `code`, and there is no traceback."""
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result
