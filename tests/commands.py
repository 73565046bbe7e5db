"""Commands, run as a user would."""

import hashlib
import sys

from click.testing import CliRunner

from moco_dl.cli import main

WITHOUT_VALIDATION = (
    "import moco_dl.learning.train; moco_dl.learning.train.VALIDATION_PHOTONS = ()"  # it takes long
)


def run(*arguments, code=0):
    """Result of a command in this process; the exit status must be `code`, and there is no traceback."""
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def command(*arguments, first="", heard=()):
    """What starts it as a process of its own.

    It runs the statements `first`. Signals `heard` are not ignored, as a shell's background has them.
    """
    reset = "".join(f"import signal; signal.signal({int(number)}, signal.SIG_DFL); " for number in heard)
    code = f"{reset}{first}\nfrom moco_dl.cli import process; process()"
    return [sys.executable, "-c", code, *map(str, arguments)]
