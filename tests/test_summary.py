"""What is told of a corrected movie."""

import numpy as np
import pytest
import tifffile
from commands import run

import moco_dl
from moco_dl.cli.summary import summary
from moco_dl.job import Done
from moco_dl.scenes import draw_scene

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
        ({"off": 0.9, "likeness": 0.9}, "too dim, may be off by about 0.9 px"),
        ({"off": 0.9, "likeness": 0.1}, "px; the reference is hardly like the movie (correlation 0.10): is it"),
        ({"kinds": 3}, "px; frames of 3 kinds take turns: choose a channel, such as --channel 1/3"),
    ],
)
def test_what_is_told(found, expected):
    told = summary(Done(RIGID, None, **found))
    assert expected in told
    assert ("too dim" in told) == ("too dim" in expected)


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
