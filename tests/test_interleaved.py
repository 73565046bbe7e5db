"""Channels that nobody said were there."""

import numpy as np
import pytest
import tifffile
from commands import run

from moco_dl.sampled.interleaved import taking_turns
from moco_dl.sampled.samples import Samples


def samples_of(frames, run=10):
    numbers = np.arange(len(frames))
    return Samples(frames, numbers, numbers // run, numbers)


def mixed(frames, kinds):
    """Of as many different scenes."""
    return np.stack(
        [np.rot90(frames, 2 * (k % 2), axes=(1, 2)) // (k // 2 + 1) for k in range(kinds)], axis=1
    ).reshape(-1, *frames.shape[1:])


@pytest.mark.parametrize("kinds", [1, 2, 3])
@pytest.mark.parametrize("part", [10, 5])
def test_how_many_take_turns(known_movie, kinds, part):
    assert taking_turns(samples_of(mixed(known_movie[0], kinds), part)) == kinds


def test_nothing_is_concluded_from_few_frames_or_from_chance(known_movie):
    frames = known_movie[0]
    assert taking_turns(samples_of(mixed(frames[:5], 2))) == 1
    assert taking_turns(samples_of(frames[:1])) == 1
    noise = np.random.default_rng(0).poisson(5.0, frames.shape)
    assert taking_turns(samples_of(noise)) == 1
    assert taking_turns(samples_of(np.random.default_rng(0).permutation(frames))) == 1


def test_the_summary_tells_and_a_channel_is_the_way_out(tmp_path, known_movie):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, mixed(known_movie[0], 2), photometric="minisblack")
    told = "frames of 2 kinds take turns: if they are channels or planes, choose one, such as --channel 1/2"
    assert told in run("correct", path, "--rigid-only").stderr
    done = run("correct", path, "--channel", "1/2", "--rigid-only", "-o", tmp_path / "one.tif")
    assert "kinds" not in done.stderr and "40 frames" in done.stderr
