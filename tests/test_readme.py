"""Every block of the README runs as it stands, in a folder with the files it names."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import tifffile

from moco_dl.evaluation import table

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    *sorted(ROOT.glob("docs/*.md")),
    ROOT / "weights/README.md",
    ROOT / "tests/benchmarks/README.md",
]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
SET_UP = [text for _, text in BLOCKS if "python3 -m venv" in text]
REST = [(kind, text) for kind, text in BLOCKS if text not in SET_UP]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, known_movie):
    folder = tmp_path_factory.mktemp("readme")
    frames = known_movie[0][:8]
    for name in ("movie", "second", "channel_2", "part_1", "part_2"):
        tifffile.imwrite(folder / f"{name}.tif", frames, photometric="minisblack")
    (folder / "frames").mkdir()
    for number, frame in enumerate(frames):
        tifffile.imwrite(folder / "frames" / f"{number}.tif", frame)
    both = frames[:, None].repeat(2, axis=1)
    tifffile.imwrite(folder / "both.tif", both, imagej=True, metadata={"axes": "TCYX"})
    tifffile.imwrite(folder / "day1.tif", frames.mean(0).astype("float32"))
    with h5py.File(folder / "stack.h5", "w") as file:
        file["raw/stack"] = frames
    scripts = folder / "bin"
    scripts.mkdir()
    script = shlex.join([sys.executable, "-c", "from moco_dl.cli import process; process()"])
    (scripts / "nrcorrect").write_text(f'#!/bin/sh\nexec {script} "$@"\n')  # its path may have spaces
    (scripts / "nrcorrect").chmod(0o755)
    return folder


def test_two_commands_set_everything_up():
    assert len(SET_UP) == 2
    assert SET_UP[0].strip().endswith("nrcorrect correct demo.tif") and SET_UP[1].strip().endswith("pytest")


@pytest.mark.parametrize(("kind", "text"), REST, ids=[text.strip().split("\n")[0] for _, text in REST])
def test_block_runs(folder, kind, text):
    command = {"sh": ["sh", "-e", "-c", text], "python": [sys.executable, "-c", text]}[kind]
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["correct", "apply", "evaluate"])
def test_every_option_is_listed(command):
    from moco_dl.cli import main

    options = {o for p in main.commands[command].params for o in p.opts if o.startswith("--")} - {"--output"}
    text = README.read_text(encoding="utf-8")
    assert not [option for option in options if not re.search(rf"`{option}(?![\w-])|, `?{option}`", text)]


def test_every_line_of_the_table_is_explained():
    text = (ROOT / "docs/table.md").read_text(encoding="utf-8")
    lines = [line for line in vars(table).values() if isinstance(line, table.Row)]
    assert len(lines) > 20
    for line in lines:
        assert f"| `{line.key}` | {line.label}. {line.note} | {line.unit} | {line.better or '-'} |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings], (
                link
            )


def test_the_method_names_modules_that_exist():
    named = re.findall(r"`([\w/]+(?:\.py|/))`", (ROOT / "docs/method.md").read_text(encoding="utf-8"))
    named.remove("moco_dl/")
    assert len(named) > 20 and all((ROOT / "moco_dl" / name).exists() for name in named)
