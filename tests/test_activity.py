"""Activity in neuropil: waves that are wider than anything the tissue shows, and may outshine it."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from commands import run
from drawn_samples import still
from scipy.ndimage import gaussian_filter

import moco_dl
from moco_dl.correction import Corrector
from moco_dl.device import CPU
from moco_dl.infer import Estimator
from moco_dl.movie import ArrayMovie
from moco_dl.options import CorrectOptions
from moco_dl.refinement.refine import Refiner, refiner_of
from moco_dl.refinement.template import Template
from moco_dl.sampled.sample_shifts import lie_elsewhere, mean_power


def with_waves(photons, share, detail=0.1):
    """Frames (60, 112, 128) of tissue that stays; this share of their light is activity in wide waves."""
    rng = np.random.default_rng(3)

    def drawn(size, *sigmas):
        image = gaussian_filter(rng.standard_normal(size), sigmas)
        return image / image.std()

    tissue = 1 + detail * drawn((112, 128), 1.5, 1.5) + 0.1 * drawn((112, 128), 10, 10)
    waves = np.exp(drawn((60, 112, 128), 3, 14, 14))
    light = (1 - share) * tissue + share * waves / waves.mean()
    return rng.poisson(photons * light.clip(0)).astype(np.uint16)


def off(fields):
    """px, mean, by which whole frames that stay are moved beside one another."""
    return np.hypot(*(fields.rigid - np.median(fields.rigid, axis=0)).T).mean()


@pytest.mark.parametrize(
    ("photons", "share", "enough"), [(0.7, 0.4, 60), (8, 0.4, 60), (8, 0.4, 40), (30, 0.4, 60), (30, 0.5, 30)]
)
def test_waves_of_activity_do_not_carry_frames_away(photons, share, enough, monkeypatch):
    """In neuropil they are wide, and may outshine what tissue shows; in bright frames, each by itself."""
    monkeypatch.setattr("moco_dl.view.frames_with", lambda *_: enough)  # frames, of 60, for a reference
    assert off(moco_dl.correct(with_waves(photons, share), rigid_only=True).fields) < 0.6


def test_frames_with_waves_of_activity_do_not_seem_to_lie_elsewhere():
    frames, each = with_waves(30, 0.5).astype(np.float32), np.arange(60)
    samples = still(frames, 3)
    looking = Estimator(frames.mean(axis=0), None, max_shift=14, device=CPU)
    looking = looking.expecting(mean_power(samples, looking, map))
    assert not lie_elsewhere(samples, looking, map)
    assert lie_elsewhere(replace(samples, motion=samples.motion + 5), looking, map)
    few = replace(samples, motion=samples.motion + 5).only(each < 19)
    assert not lie_elsewhere(few, looking, map)


@pytest.mark.parametrize("given", ["what it shows", "its mean"])
def test_nor_do_waves_carry_them_away_beside_a_reference_that_is_given(given):
    frames = with_waves(20, 0.5)
    own = moco_dl.correct(frames, rigid_only=True).reference
    reference = own if given == "what it shows" else frames.mean(axis=0)
    assert off(moco_dl.correct(frames, reference, rigid_only=True).fields) < 0.1


def test_activity_that_outshines_tissue_is_no_motion():
    """It is with the local mean that is removed of other movies: 0.08 px."""
    field = moco_dl.correct(with_waves(8, 0.5)).fields[:]
    assert np.hypot(*field.swapaxes(0, 1)).mean() < 0.04


@pytest.mark.parametrize("count", [None, 30])
@pytest.mark.parametrize("given", [False, True])
def test_nor_is_it_for_the_network(given, count):
    """Which took it for motion of 4 px, of 0.6 beside a reference that is given; whatever samples show."""
    frames = with_waves(30, 0.5)
    field = moco_dl.correct(frames, frames.mean(axis=0) if given else None, ref_frames=count).fields[:]
    assert np.hypot(*field.swapaxes(0, 1)).mean() < (0.25 if given else 0.05)


@pytest.mark.parametrize(("photons", "detail", "hidden"), [(2, 0.03, True), (8, 0.1, False), (200, 0.1, False)])
def test_only_whole_frames_are_moved_where_activity_hides_all_else(tmp_path, photons, detail, hidden):
    save = tmp_path / "movie.tif"
    tifffile.imwrite(save, with_waves(photons, 0.5, detail))
    told = run("correct", save)
    fields = moco_dl.load_fields(tmp_path / "movie_fields.h5")
    assert ("only shifts of whole frames" in told.stderr) == fields.metadata["hidden_by_activity"] == hidden
    assert np.isnan(fields.expected_error).all() == hidden
    if hidden:
        assert not fields.flow[:].any()


@pytest.mark.parametrize(("share", "outshone"), [(0.0, False), (0.1, False), (0.4, True), (0.8, True)])
@pytest.mark.parametrize("photons", [2, 20])
def test_whether_activity_outshines_tissue(photons, share, outshone):
    frames = with_waves(photons, share).astype(np.float32)
    looking = Estimator(frames.mean(axis=0), None, max_shift=14, device=CPU)
    power = looking.power(frames).mean(axis=0)
    assert looking.outshone(power, 7.0) == outshone


@pytest.mark.parametrize(("detail", "left"), [(1.5, 7.0), (10.0, 14.0)])
def test_a_narrower_mean_is_removed_only_if_it_leaves_what_tissue_shows(detail, left):
    scene = gaussian_filter(np.random.default_rng(5).standard_normal((112, 128)), detail)
    template = Template((100 + scene / scene.std()).astype(np.float32), np.ones((112, 128), np.float32))
    chosen = refiner_of(template, 7.0, 1, CPU)
    found = [Refiner(template, background=width).shown for width in (7.0, 14.0)]
    assert found[0] != found[1] and chosen.shown == found[(7.0, 14.0).index(left)]


@pytest.mark.parametrize(("count", "walk"), [(60, True), (12, False)])
def test_few_frames_do_not_tell_how_far_all_go(count, walk):
    corrector = Corrector(CorrectOptions(rigid_only=True, device="cpu"))
    assert (corrector.prepare(ArrayMovie(with_waves(20, 0.5)[:count])).walk is not None) == walk
