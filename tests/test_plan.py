"""What is prepared on samples, and what is left to do in the stream, with the shipped weights."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from truth import end_point_error

import moco_dl
from moco_dl.correction import Corrector
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.memory import frames_sampled
from moco_dl.movie import ArrayMovie
from moco_dl.network import STRIDE
from moco_dl.options import CorrectOptions
from moco_dl.plan import NEAR
from moco_dl.refinement.equations import linearise
from moco_dl.warp import upsample


def test_where_motion_lasts_the_network_sees_every_other_frame(known_movie):
    """Fields come out as if it had looked at all."""
    frames = known_movie[0]
    movie, corrector = ArrayMovie(frames), Corrector(CorrectOptions(ref_frames=16, smooth=3.0, device="cpu"))
    plan = corrector.prepare(movie)
    every, found = (
        np.concatenate([b.motion.merged(np.float32).total() for b in corrector.batches(movie, p)])
        for p in (replace(plan, apart=1), plan)
    )
    assert plan.apart == 2
    assert 0 < np.abs(found - every).mean() < 0.02
    sizes = Corrector(CorrectOptions(ref_frames=16, smooth=3.0, batch_size=3, device="cpu"))
    again = np.concatenate([b.motion.merged(np.float32).total() for b in sizes.batches(movie, plan)])
    np.testing.assert_array_equal(again, found)


def test_paths_go_on_from_frame_to_frame():
    """Under an animal that runs; fields are closer to the truth than if each path were found for itself."""
    options = movie_options(frames=150, size=96, photons=1.0, amplitude=1.0, rigid=1.0, rows=0.0, running=3.0)
    frames, truth = (np.stack(x) for x in zip(*SyntheticMovie(2, options), strict=True))
    movie, corrector = ArrayMovie(frames), Corrector(CorrectOptions(device="cpu"))
    plan, errors = corrector.prepare(movie), []
    for some in (plan, replace(plan, finish=replace(plan.finish, trajectory=None))):
        batches = corrector.batches(movie, some)
        found = np.concatenate([batch.motion.merged(np.float32).total() for batch in batches])
        found = upsample(torch.from_numpy(found), STRIDE, frames.shape[1:]).numpy()
        errors.append(end_point_error(found - np.median(found - truth, axis=0), truth))
    assert errors[0] < 0.93 * errors[1]
    assert plan.expected_error.mean() == pytest.approx(errors[0], rel=0.2)


@pytest.mark.parametrize("size", [96, 128])
def test_errors_are_known_where_rows_follow_a_path(size):
    movie = SyntheticMovie(1, movie_options(frames=120, size=size, running=3.0))
    frames, truth = (np.stack(x) for x in zip(*movie, strict=True))
    fields = moco_dl.correct(frames).fields
    assert fields.expected_error.mean() == pytest.approx(end_point_error(fields[:], truth), rel=0.2)


def test_the_network_sees_no_frames_close_to_samples(known_movie, monkeypatch):
    """It has seen these."""
    options = CorrectOptions(ref_frames=4, smooth=3.0, threads=1)  # which sees frames in order
    movie, corrector = ArrayMovie(known_movie[0]), Corrector(options)
    plan, looks = corrector.prepare(movie), []

    def noted(frames, judged, seen, _):
        looks.append(seen)
        return plan.estimator(frames, judged, seen)

    monkeypatch.setattr(noted, "device", plan.estimator.device, raising=False)
    list(corrector.batches(movie, replace(plan, estimator=noted)))
    samples = np.array(list(plan.known.places))
    others = np.setdiff1d(np.arange(movie.shape[0]), samples)
    near = np.abs(others[:, None] - samples).min(axis=1) <= NEAR
    np.testing.assert_array_equal(np.concatenate(looks), ~near & (others % 2 == 0))
    assert 0 < near.sum() < len(others)


@pytest.mark.parametrize("samples", [16, 200])
def test_samples_are_looked_at_once(known_movie, monkeypatch, samples):
    """What they told while the stream was prepared serves in it, too, with the same result."""
    frames, looked = known_movie[0], []
    corrector = Corrector(CorrectOptions(ref_frames=samples))
    plan = corrector.prepare(ArrayMovie(frames))

    def noted(frames, *others, **more):
        looked.append(len(frames))
        return linearise(frames, *others, **more)

    monkeypatch.setattr("moco_dl.step.linearise", noted)
    found, anew = (
        np.concatenate([b.motion.merged(np.float32).total() for b in corrector.batches(ArrayMovie(frames), p)])
        for p in (plan, replace(plan, known=replace(plan.known, places={})))
    )
    left = max(len(frames) - samples, 0)
    assert sum(looked) == len(plan.steps) * (left + len(frames))
    assert np.abs(found - anew).mean() < 0.02


def test_what_is_known_of_samples_takes_half_the_memory_and_serves_as_well(known_movie, monkeypatch):
    movie, corrector = ArrayMovie(known_movie[0]), Corrector(CorrectOptions(device="cpu"))
    plan = corrector.prepare(movie)
    monkeypatch.setattr("moco_dl.plan.Plan.packed", lambda plan: plan)
    found, exact = (
        np.concatenate([b.motion.total() for b in corrector.batches(movie, p)])
        for p in (plan, corrector.prepare(movie))
    )
    flows = [plan.known.motion.flow, *(step.motion.flow for step in plan.steps)]
    assert {flow.dtype.itemsize for flow in flows} == {2}
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_new_frames_are_looked_at_as_samples_are():
    """Also where the first step averages pixels, which leaves less noise."""
    frames = np.stack([f for f, _ in SyntheticMovie(3, movie_options(frames=12, size=240, photons=5.0))])
    plan = Corrector(CorrectOptions()).prepare(ArrayMovie(frames))
    step = plan.steps[0]
    anew = step.linearised(frames, step.motion)
    assert step.refiner.binning == 2
    np.testing.assert_allclose(anew.grain, step.equations.grain, rtol=1e-5)


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])  # in whichever the same movie is stored
def test_long_movies_are_sampled_more(apart, dtype):
    movie = SimpleNamespace(dtype=np.dtype(dtype), frames_apart=apart)
    counts = []
    for shape in ((150, 256, 256), (600, 256, 256), (9000, 256, 256), (300, 512, 512), (9000, 512, 512)):
        movie.shape = shape
        counts.append(frames_sampled(movie))
    assert counts == ([200, 300, 400, 150, 200] if apart else [200, 200, 200, 100, 100])


@pytest.mark.parametrize("apart", [True, False])
def test_samples_are_kept_where_reading_one_takes_reading_others(known_movie, monkeypatch, apart):
    class Counted(ArrayMovie):
        frames_apart = apart

        def read(self, indices):
            reads.extend(indices)
            return super().read(indices)

    reads = []
    monkeypatch.setattr("moco_dl.sampled.sampling.KEPT", 0)
    Corrector(CorrectOptions()).prepare(Counted(known_movie[0]))
    assert (sorted(reads) == list(range(len(known_movie[0])))) == (not apart)


@pytest.mark.parametrize(("far", "steps"), [(0.0, 3), (100.0, 2)])
def test_a_first_step_that_leads_far_is_taken_again(known_movie, monkeypatch, far, steps):
    frames, truth = known_movie
    monkeypatch.setattr("moco_dl.preparation.FAR", far)
    corrector = Corrector(CorrectOptions())
    plan = corrector.prepare(ArrayMovie(frames))
    assert len(plan.steps) == steps and [step.last for step in plan.steps] == [False] * (steps - 1) + [True]
    found = np.concatenate([b.motion.total() for b in corrector.batches(ArrayMovie(frames), plan)])
    found = upsample(torch.from_numpy(found.astype(np.float32)), STRIDE, frames.shape[1:]).numpy()
    assert end_point_error(found, truth) < 0.27 * end_point_error(np.zeros_like(truth), truth)


@pytest.mark.parametrize(("many", "steps"), [(-1.0, 6), (1.0, 3)])
def test_steps_go_on_while_much_moves_far(known_movie, monkeypatch, many, steps):
    monkeypatch.setattr("moco_dl.preparation.FAR", 0.0)
    monkeypatch.setattr("moco_dl.preparation.MANY", many)
    assert len(Corrector(CorrectOptions()).prepare(ArrayMovie(known_movie[0])).steps) == steps


@pytest.mark.parametrize(("sheared", "steps", "apart"), [(100.0, 2, 2), (0.0, 3, 1)])
def test_where_rows_move_far_more_is_looked_at(known_movie, monkeypatch, sheared, steps, apart):
    for name, value in {"FAR": 100.0, "LASTS": 0.0, "SHEARED": sheared}.items():
        monkeypatch.setattr(f"moco_dl.preparation.{name}", value)
    plan = Corrector(CorrectOptions()).prepare(ArrayMovie(known_movie[0]))
    assert (len(plan.steps), plan.apart) == (steps, apart)


@pytest.mark.parametrize("options", [{"smooth": 1.0}, {"smooth": 3.0, "quality": "best"}])
def test_the_network_sees_every_frame(known_movie, options):
    plan = Corrector(CorrectOptions(**options)).prepare(ArrayMovie(known_movie[0]))
    assert plan.apart == 1


@pytest.mark.parametrize("given", [False, True])
def test_how_far_frames_move_is_known_before(known_movie, given):
    frames = known_movie[0]
    movie, corrector = ArrayMovie(frames), Corrector(CorrectOptions())
    image = np.roll(frames.mean(axis=0), (9, -8), (0, 1)) if given else None
    plan = corrector.prepare(movie, image)
    moved = max(np.abs(batch.motion.total()).max() for batch in corrector.batches(movie, plan))
    assert 0.9 * moved < plan.reach < 2.5 * moved
