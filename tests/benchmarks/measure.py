"""What a command costs: seconds, CPU seconds and peak memory of a process of its own.

A process counts the memory of the one it was started from as its own, and the scripts here hold whole fields.
So this file, run as a script, is a small starter that stands between the two:

    python measure.py THREADS cpu|gpu LOG COMMAND...

It needs the standard library and a POSIX system.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
ONLY_CPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
NRCORRECT = (sys.executable, "-c", "from moco_dl.cli import process; process()")
MIB = 2**20


class CommandError(Exception):
    """A command ended with an exit status other than 0."""


@dataclass(frozen=True)
class Cost:
    seconds: float  # from the start of the process to its end
    cpu_seconds: float  # user and system time, all threads and finished child processes
    peak: float  # MiB, largest resident set; of several processes, the largest one's


def cost_of(command: Sequence[str | Path], folder: Path, *, threads: int, gpu: bool = False) -> Cost:
    """Run `command` in `folder` on `threads` processors, with GPUs or not; its output goes to log.txt there."""
    log = (folder / "log.txt").resolve()
    starter = [sys.executable, __file__, str(threads), "gpu" if gpu else "cpu", str(log), *map(str, command)]
    done = subprocess.run(starter, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    if result.pop("status"):
        raise CommandError(_message(log.read_text(errors="replace")))
    return Cost(**result)


def _message(log: str) -> str:
    """The last line that names an error, else the last one."""
    lines = [line.strip() for line in log.split("\n") if line.strip()] or ["no message"]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (errors or lines)[-1]


def machine() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "processor of unknown name"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table; all columns but the first are numbers."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ruler, *rows))


def _start(threads: int, device: str, log: str, command: list[str]) -> dict[str, float]:
    environment = os.environ | dict.fromkeys(THREADS, str(threads)) | (ONLY_CPU if device == "cpu" else {})
    if hasattr(os, "sched_setaffinity"):  # some libraries ask only for the number of processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    with Path(log).open("w") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * unit / MIB,
    }


if __name__ == "__main__":
    print(json.dumps(_start(int(sys.argv[1]), *sys.argv[2:4], sys.argv[4:])))
