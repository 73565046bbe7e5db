"""Channels that nobody said were there."""

import numpy as np
import pytest
import tifffile
from commands import run
from drawn_samples import samples_of

from moco_dl.sampled.interleaved import taking_turns


def mixed(frames, kinds):
    """Of as many different scenes."""
    return np.stack(
        [np.rot90(frames, 2 * (k % 2), axes=(1, 2)) // (k // 2 + 1) for k in range(kinds)], axis=1
    ).reshape(-1, *frames.shape[1:])


@pytest.mark.parametrize("kinds", [1, 2, 3])
@pytest.mark.parametrize("part", [10, 5])
def test_how_many_take_turns(known_movie, kinds, part):
    assert taking_turns(samples_of(mixed(known_movie[0], kinds), part)) == kinds


def test_so_it_is_where_some_columns_have_no_data(known_movie):
    for kinds in (1, 2, 3):
        frames = mixed(known_movie[0], kinds).astype(np.float32)
        frames[:, :, 20:29] = np.nan
        frames[:, 30:38, :] = np.nan
        assert taking_turns(samples_of(frames)) == kinds


def test_nothing_is_concluded_from_few_frames_or_from_chance(known_movie):
    frames = known_movie[0]
    assert taking_turns(samples_of(mixed(frames[:5], 2))) == 1
    assert taking_turns(samples_of(frames[:1])) == 1
    noise = np.random.default_rng(0).poisson(5.0, frames.shape)
    assert taking_turns(samples_of(noise)) == 1
    assert taking_turns(samples_of(np.random.default_rng(0).permutation(frames))) == 1


@pytest.mark.parametrize("kinds", [2, 3])
def test_a_clock_in_a_corner_and_stripes_that_wander_are_no_kinds(known_movie, kinds):
    frames = known_movie[0].astype(np.float32)
    turns = np.arange(len(frames)) % kinds
    clock = frames.copy()
    for turn in range(kinds):
        clock[turns == turn, 4:16, 8 + 6 * turn : 14 + 6 * turn] = 4095
    rows = np.arange(frames.shape[1])
    stripes = 200 * np.sin(2 * np.pi * (rows / 12 + turns[:, None] / kinds + 0.1))
    assert taking_turns(samples_of(clock)) == taking_turns(samples_of(frames + stripes[..., None])) == 1


def test_the_summary_tells_and_a_channel_is_the_way_out(tmp_path, known_movie):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, mixed(known_movie[0], 2), photometric="minisblack")
    told = "frames of 2 kinds take turns: if they are channels or planes, choose one, such as --channel 1/2"
    assert told in run("correct", path, "--rigid-only").stderr
    done = run("correct", path, "--channel", "1/2", "--rigid-only", "-o", tmp_path / "one.tif")
    assert "kinds" not in done.stderr and "40 frames" in done.stderr
