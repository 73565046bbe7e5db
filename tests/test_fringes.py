"""Oblique stripes, grids and fringes, which stay in place while the tissue moves."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_samples import samples_of
from truth import end_point_error

import moco_dl
from moco_dl.fringed import Cleared
from moco_dl.moving import move_known
from moco_dl.sampled import pattern
from moco_dl.sampled.fringes import are_in_place, evened, halved, may_hold, share_of_fringes
from moco_dl.sampled.pattern import LASTS, Pattern
from moco_dl.spectrum import filtered, frequency, padded


def light(kind, size, strength=0.3):
    """(H, W) of which share comes through."""
    y, x = np.indices(size)
    if kind == "stripes":
        return 1 + strength * np.sin(0.5 * x + 0.3 * y)
    if kind == "grid":
        return (1 + strength * np.sin(0.5 * x + 0.2 * y)) * (1 + strength * np.sin(0.5 * y - 0.2 * x))
    return 1 + strength * np.sin(
        0.5 * x + 0.3 * y + (x / size[1] - 0.5) ** 2 * 8
    )  # fringes of a curved surface


def noise(size, seed=0):
    """Half-spectra (2, H, W // 2 + 1) that have nothing to do with one another."""
    return np.fft.rfft2(np.random.default_rng(seed).standard_normal((2, *size)))


@pytest.mark.parametrize("at", [(20, 9), (-20, 9)])
def test_a_few_frequencies_that_are_far_stronger_are_fringes(at):
    halves, dim = noise((96, 112)), np.zeros((96, 112), np.float32)
    left = np.zeros(halves.shape[1:])
    assert not share_of_fringes(halves, left, dim).any()
    halves[:, at[0], at[1]] += 1000
    share = share_of_fringes(halves, left, dim)
    assert share[at] > 0.9 and (share > 0).sum() <= 9
    left[at] = 0.95  # motion takes next to nothing of it
    assert not share_of_fringes(halves, left, dim)[at]


@pytest.mark.parametrize("at", [(0, 9), (20, 0)])
def test_stripes_along_rows_or_columns_are_no_fringes(at):
    halves = noise((96, 112))
    halves[:, at[0], at[1]] += 1000
    assert not share_of_fringes(halves, np.zeros(halves.shape[1:]), np.zeros((96, 112), np.float32)).any()


def test_what_changes_or_is_of_the_scene_makes_no_fringes():
    halves, size = noise((96, 112)), (96, 112)
    left, scene = np.zeros(halves.shape[1:]), np.zeros(halves.shape[1:])
    scene[20, 9] = 4000
    changing = halves.copy()
    halves[:, 20, 9] += 1000
    changing[:, 20, 9] += np.array([1000, 1000j])
    assert not share_of_fringes(changing, left, np.zeros(size, np.float32)).any()
    assert not share_of_fringes(halves, left, np.fft.irfft2(scene, s=size).astype(np.float32)).any()


def test_a_pattern_matters_beside_a_reference_that_is_not_known_everywhere():
    reference = np.random.default_rng(0).standard_normal((20, 24)).astype(np.float32)
    reference[:3] = np.nan
    strong, weak = (Pattern(share * np.eye(20, 24, dtype=np.float32), False, True) for share in (1, 0.01))
    assert strong.differs(None, reference) and strong.differs(weak, reference)
    assert not weak.differs(None, reference) and not strong.differs(strong, reference)


def test_an_image_is_halved_into_frequencies():
    image = np.random.default_rng(0).standard_normal((21, 24)).astype(np.float32)
    one, other = halved(image)
    np.testing.assert_allclose(one + other, image, atol=1e-5)
    assert abs((one * other).mean()) < 0.05 and 0.3 < one.var() < 0.7


@pytest.mark.parametrize("kind", ["stripes", "grid"])
def test_what_holds_shifts_counts_less(kind):
    size = (96, 112)
    scene = filtered(np.random.default_rng(0).standard_normal(size), np.exp(-30 * frequency(padded(size))))
    scene = 10 + scene / scene.std()
    lit = (scene * light(kind, size)).astype(np.float32)
    assert may_hold(lit) and not may_hold(scene)
    assert np.corrcoef(evened(lit).ravel(), scene.ravel())[0, 1] > np.corrcoef(lit.ravel(), scene.ravel())[0, 1]


def test_a_glance_shows_them(known_movie):
    frames, fields = known_movie
    shifts = fields.mean(axis=(2, 3))
    for kind in (None, "stripes", "grid"):
        recorded = (frames if kind is None else frames * light(kind, frames.shape[1:])).astype(np.float32)
        samples = samples_of(recorded, 1)
        reference = np.nanmean(move_known(recorded, shifts[:, :, None, None]), axis=0)
        assert are_in_place(samples, shifts, reference) == (kind is not None)
        assert not are_in_place(samples.only(np.arange(len(frames)) < 1), shifts[:1], reference)


@pytest.mark.parametrize("kind", ["stripes", "grid", "fringes"])
def test_motion_behind_them_is_found(known_movie, result, kind):
    frames, fields = known_movie
    recorded = (frames * light(kind, frames.shape[1:])).astype(frames.dtype)
    fringed = moco_dl.correct(recorded).fields[:]
    assert end_point_error(fringed, fields) < 2.5 * end_point_error(result.fields[:], fields)


@pytest.mark.parametrize(("share", "lasts"), [(1.2, True), (LASTS + 0.05, True), (LASTS - 0.05, False)])
def test_a_pattern_lasts_if_most_of_it_is_found_again(share, lasts):
    first = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32) + 5
    again = share * first + np.random.default_rng(1).standard_normal((20, 30)).astype(np.float32) / 9
    assert Pattern(first, False, True).lasts(Pattern(again, False, True)) == lasts


def test_what_is_not_confirmed_is_put_back(known_movie, result, monkeypatch):
    def mistaken(view, fit, cleared):
        image = np.roll(cleared.rigid.reference, 3, axis=1) / 5
        samples, small = (replace(some, pattern=image) for some in (cleared.samples, cleared.small))
        return Cleared(Pattern(image, False, True), samples, small, fit(small))

    wanted = result.fields[:]
    monkeypatch.setattr("moco_dl.survey.without_fringes", mistaken)
    assert (moco_dl.correct(known_movie[0]).fields[:] != wanted).any()
    monkeypatch.setattr("moco_dl.survey.Survey._confirms", lambda *_: False)
    np.testing.assert_array_equal(moco_dl.correct(known_movie[0]).fields[:], wanted)


@pytest.mark.parametrize(("photons", "far"), [(5, 0.6), (0.5, 0.3)])
def test_a_scene_of_stripes_that_moves_is_no_pattern(photons, far):
    rng, size = np.random.default_rng(1), (128, 144)
    details = filtered(rng.standard_normal(size), np.exp(-30 * frequency(padded(size))))
    scene = np.fft.rfft2(light("stripes", size, 0.4) + 0.12 * details / details.std())
    shifts = far * rng.standard_normal((60, 2))
    y, x = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])
    moved = [np.fft.irfft2(scene * np.exp(-2j * np.pi * (dy * y + dx * x)), s=size) for dy, dx in shifts]
    frames = rng.poisson(photons * np.clip(moved, 0, None)[:, 16:-16, 16:-16]).astype(np.float32)
    assert moco_dl.correct(frames).fields.metadata["detector_pattern_rms"] == 0


def test_they_are_estimated_by_whole_frame_shifts_alone(known_movie, monkeypatch):
    frames, seen = known_movie[0], []

    def fixed_pattern(*given, **more):
        seen.append(more.get("fringed", False))
        return pattern.fixed_pattern(*given, **more)

    for module in ("fringed", "survey"):
        monkeypatch.setattr(f"moco_dl.{module}.fixed_pattern", fixed_pattern)
    moco_dl.correct((frames * light("stripes", frames.shape[1:])).astype(frames.dtype))
    assert seen == [True, True, True, False]  # and once more, to confirm them
