"""What is told of a corrected movie."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import run

import moco_dl
from moco_dl.cli.summary import summary
from moco_dl.intensity import clipped
from moco_dl.job import Outcome
from moco_dl.learning.scenes import draw_scene

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
RIGID = np.array([[0.0, 0.0], [1.0, -2.5]])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, "2 frames, rigid shifts up to 2.5 px"),
        ({"row_offset": -2}, "up to 2.5 px, every other row -2 px"),
        (
            {"left_out": 0.314},
            "up to 2.5 px, 31% of the frame left out (it stays in place: a mask, ",
        ),
        ({"left_out": 0.004}, "up to 2.5 px, less than 1% of the frame left out (it stays in place: a mask, "),
        ({"off": 0.9, "likeness": 0.9}, "too dim, may be off by about 0.9 px"),
        ({"off": 0.9, "likeness": 0.1}, "px; the reference is hardly like the movie (correlation 0.10): is it"),
        (
            {"flags": (("empty",), ("low correlation",)), "listed": Path("a/m_motion.csv")},
            "up to 2.5 px; 2 frames flagged: see m_motion.csv",
        ),
        ({"flags": ((), ("low correlation", "implausible shift"))}, "up to 0.0 px; 1 frame could not"),
        ({"flags": (("implausible shift",),) * 2}, "up to 2.5 px; 2 frames could not be judged"),
        (
            {"kinds": 3},
            "px; frames of 3 kinds take turns: if they are channels or planes, choose one, such as --channel 1",
        ),
    ],
)
def test_what_is_told(found, expected):
    told = summary(Outcome(RIGID, None, **found))
    assert expected in told
    assert ("too dim" in told) == ("too dim" in expected)


def test_frames_that_are_flagged_are_counted(tmp_path, known_movie):
    frames = known_movie[0][:12].copy()
    frames[[3, 7]] = 0
    tifffile.imwrite(tmp_path / "m.tif", frames, photometric="minisblack")
    for options, told in (
        ([], "2 frames flagged: see m_motion.csv"),
        (["--no-csv"], "2 frames could not be judged"),
        (["--no-csv", "--report"], "2 frames flagged: see m_report.html"),
    ):
        assert told in run("correct", tmp_path / "m.tif", "--rigid-only", "--overwrite", *options).stderr


def test_values_that_the_type_cannot_hold_are_counted(tmp_path, known_movie):
    bright = np.where(known_movie[0][:9] > np.quantile(known_movie[0][:9], 0.6), 300, 200).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", bright, photometric="minisblack")
    share = (bright > 255).mean()
    told = f"{share:.0%} of pixels were clipped to uint8: choose a wider --dtype"
    corrected = ("--rigid-only", "--overwrite", "--dtype")
    assert told in run("correct", tmp_path / "m.tif", *corrected, "uint8").stderr
    assert told in run("apply", tmp_path / "m.tif", tmp_path / "m_fields.h5", "--overwrite").stderr
    for dtype in ("uint16", "int16", "float32"):
        assert "clipped" not in run("correct", tmp_path / "m.tif", *corrected, dtype).stderr


@pytest.mark.parametrize(
    ("dtype", "values", "target", "count"),
    [
        ("uint16", [0, 255, 256], "uint8", 1),
        ("int16", [-1, 0, 300], "uint16", 1),
        ("uint32", [0, 2**31, 2**32 - 1], "int32", 2),
        ("float32", [-1, np.nan, np.inf], "uint16", 2),
        ("float32", [-(2.0**31), 2.0**31 - 128, 2.0**31], "int32", 1),
        ("float64", [0, 1e39, -1e39], "float32", 2),
        ("float64", [0, 1e39, -np.inf], "float32", 1),
        ("float32", [0, 1e5, 6e4], "float16", 1),
        ("int32", [0, -(2**31), 2**31 - 1], "float32", 0),
    ],
)
def test_values_beyond_a_type(dtype, values, target, count):
    frames = np.array(values, dtype).reshape(1, 1, 3)
    assert clipped(frames, np.dtype(target)) == count


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("target", TYPES)
def test_limits_of_any_type_are_beyond_those_that_cannot_hold_them(dtype, target):
    limits, held = (
        np.finfo(name) if np.dtype(name).kind == "f" else np.iinfo(name) for name in (dtype, target)
    )
    beyond = (float(limits.min) < float(held.min)) + (float(limits.max) > float(held.max))
    frames = np.array([limits.min, 0, limits.max], dtype).reshape(1, 1, 3)
    assert clipped(frames, np.dtype(target)) == beyond


def test_a_reference_of_another_field_of_view_is_told(tmp_path, movie_file, known_movie):
    frames = known_movie[0]
    other = 100 * draw_scene(frames.shape[1:], np.random.default_rng(9))[0].astype(np.float32)
    references = {"own": moco_dl.correct(frames).reference, "other": other}
    told = {}
    for name, image in references.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
        result = run(
            "correct", movie_file, "--ref", tmp_path / f"{name}.tif", "-o", tmp_path / f"by_{name}.tif"
        )
        told[name] = "hardly like the movie" in result.stderr
        alike = moco_dl.load_fields(tmp_path / f"by_{name}_fields.h5").metadata["given_reference_correlation"]
        assert (alike > 0.8) == (name == "own") and alike <= 1
    assert told == {"own": False, "other": True}
