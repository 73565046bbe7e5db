"""The command line: the only folder that prints, exits, or knows click. Heavy imports live in the commands."""

import signal
import sys

import click

from moco_dl import __version__
from moco_dl.cli.correct import apply, correct
from moco_dl.cli.learn import synth, train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="nrcorrect")
def main() -> None:
    """Remove motion from calcium-imaging movies with a pretrained pyramid flow network."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished outputs are removed


for command in (correct, apply, synth, train):
    main.add_command(command)
