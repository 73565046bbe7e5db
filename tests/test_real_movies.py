"""Real recordings, where they are at hand; they are not part of the project."""

import numpy as np
import pytest
import tifffile
from commands import run

import moco_dl

MOVIES = [
    "mouse_ca1_20f",
    "mouse_cortex_raw_9f",
    "mouse_cortex_corrected_9f",
    "mouse_s1_still_64px_500f",
    "miniscope_corrupt_frames_60f",
    "mouse_cortex_128px_1000f",
]
INNER = (..., slice(8, -8), slice(8, -8))


@pytest.fixture
def correct(real_data, tmp_path):
    def corrected(name):
        source = real_data / f"{name}.tif"
        run("correct", source, "--outdir", tmp_path)
        fields = moco_dl.load_fields(tmp_path / f"{name}_fields.h5")
        return tifffile.imread(source), tifffile.imread(tmp_path / f"{name}_corrected.tif"), fields

    return corrected


def correlation(frames, image):
    flat = frames[INNER].reshape(len(frames), -1).astype(float)
    flat -= flat.mean(1, keepdims=True)
    image = image[INNER].ravel() - image[INNER].mean()
    return flat @ image / np.linalg.norm(flat, axis=1) / np.linalg.norm(image)


def crispness(frames):
    return np.linalg.norm(np.gradient(frames.mean(0)[INNER]))


@pytest.mark.parametrize("name", MOVIES)
def test_every_movie_keeps_shape_and_dtype(correct, name):
    raw, corrected, fields = correct(name)
    assert corrected.shape == raw.shape and corrected.dtype == raw.dtype and len(fields) == len(raw)


def test_cortex_gets_better_and_nothing_wraps(correct):
    raw, corrected, fields = correct("mouse_cortex_128px_1000f")
    assert correlation(corrected, fields.reference).mean() > correlation(raw, fields.reference).mean() + 0.03
    assert crispness(corrected) > 1.1 * crispness(raw)
    # A wrapped value jumps by the whole range; interpolation stays near its neighbours.
    bilinear = moco_dl.apply(raw, fields, interpolation="bilinear").astype(float)
    assert np.abs(corrected - bilinear).max() < 30_000


def test_first_frame_comes_back(correct):
    """From 8 px away, and sheared, so that its mean displacement is less; then it fits like any other frame."""
    raw, corrected, fields = correct("mouse_ca1_20f")
    jump = fields[0:1][0] - np.median(fields[1:20], axis=0)
    assert 6 < np.hypot(*jump[INNER]).mean() < 9.5 and 8 < np.hypot(*jump[INNER]).max() < 14
    fits = [correlation(corrected[[t]], np.delete(corrected, t, axis=0).mean(0))[0] for t in range(20)]
    assert fits[0] > 0.95 * np.median(fits) > 2 * correlation(raw[:1], raw[1:].mean(0))[0]
    left = moco_dl.correct(corrected, fields.reference, rigid_only=True).fields.rigid[0]
    assert np.hypot(*left) < 0.5


def test_still_movie_stays_still(correct):
    _, _, fields = correct("mouse_s1_still_64px_500f")
    field = fields[:]
    assert np.hypot(field[:, 0], field[:, 1]).mean() < 0.15
