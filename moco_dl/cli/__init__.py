"""The command line: the only folder that prints, exits, or knows click. Heavy imports live in the commands."""

import codecs
import os
import signal
import sys
import time
from contextlib import suppress
from io import TextIOWrapper
from threading import Timer, main_thread

import click

from moco_dl import __version__
from moco_dl.cli.apply import apply
from moco_dl.cli.common import tell
from moco_dl.cli.correct import correct
from moco_dl.cli.evaluate import evaluate
from moco_dl.cli.learn import synth, train

SOON = 0.01  # s, after which an exit that Python has dropped is tried again
UNDER_WAY = 10.0  # s in which being told to stop once more changes nothing: what is unfinished is removed
STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
ANY_NAME = "any name"  # how a stream writes what its encoding lacks


class Stoppable(click.Group):
    """Commands that end quietly, and without unfinished outputs, when they are told to stop."""

    def invoke(self, ctx: click.Context) -> object:
        stopped_by: list[int] = []
        late = 0.0  # when it should have ended

        def stop(number: int, _: object) -> None:
            nonlocal late
            stopped_by.append(number)
            if (now := time.monotonic()) >= late:
                late = now + UNDER_WAY
                sys.exit(128 + number)

        def again() -> None:
            nonlocal late
            late = 0.0
            _signal_again(stopped_by[-1])

        def ignored(what: object) -> None:
            """Python drops what is raised while it takes an object apart, an exit, too: that is tried again."""
            if stopped_by and isinstance(what.exc_value, SystemExit):
                Timer(SOON, again).start()
            else:
                hook(what)

        heard = [number for number in STOPS if signal.getsignal(number) != signal.SIG_IGN]  # as nohup has it
        before = {number: signal.signal(number, stop) for number in heard}
        hook, sys.unraisablehook = sys.unraisablehook, ignored
        try:
            return super().invoke(ctx)
        except Exception:  # a library may turn the exit into an error of its own
            if stopped_by:
                sys.exit(128 + stopped_by[0])
            raise
        finally:
            sys.unraisablehook = hook
            for number, handler in before.items():
                signal.signal(number, handler)


@click.group(cls=Stoppable, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="nrcorrect")
def main() -> None:
    """Remove motion from calcium-imaging movies with a pretrained pyramid flow network."""


for command in (correct, apply, evaluate, synth, train):
    main.add_command(command)


def _signal_again(number: int) -> None:
    """To the main thread, whatever it waits for, where a thread can be chosen."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main_thread().ident, number)
    else:
        signal.raise_signal(number)


def _named(error: UnicodeError) -> tuple[str | bytes, int]:
    """Names of files are printed as the bytes that they are; what cannot be, is escaped."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _reopen() -> None:
    """Standard streams that were closed lead nowhere: files that are opened later shall not take their numbers,
    and libraries take standard error for granted."""
    null = os.open(os.devnull, os.O_RDWR)
    while null < 3:
        null = os.dup(null)
    os.close(null)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)


def process() -> None:
    """`main` as a process of its own, which ends at once: all is written, and an interpreter and its libraries
    take a tenth of a second to be taken apart."""
    codecs.register_error(ANY_NAME, _named)
    _reopen()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ANY_NAME)
    status = 0
    try:
        try:
            main()
        except SystemExit as end:
            if not isinstance(end.code, int):
                raise
            status = end.code
        except BrokenPipeError:  # results are printed without; whoever was to read of wrong usage has left
            status = 2
        if sys.stdout is not None:  # as it is if it was closed before
            sys.stdout.flush()
    except BrokenPipeError:
        pass  # whoever reads has left
    except OSError as error:  # what was to be printed has no room
        status = 1
        where = "" if error.filename else "standard output (what was written to files is whole): "
        tell(f"nrcorrect: {where}{error}")
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(status)
