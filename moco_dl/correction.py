"""The main job: reference, estimator, and the stream of corrected chunks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from moco_dl import checkpoint
from moco_dl.batch import Batch, Motion
from moco_dl.device import choose_device, own_stream
from moco_dl.errors import NrcorrectError
from moco_dl.fields import FLOW_DTYPE, Fields
from moco_dl.infer import Estimator, binned, enlarged, move, move_known
from moco_dl.movie import ArrayMovie, Movie
from moco_dl.network import STRIDE, PyramidFlowNet
from moco_dl.options import CorrectOptions
from moco_dl.output import to_dtype
from moco_dl.parallel import Workers, workers_first
from moco_dl.plan import APART, Plan
from moco_dl.preparation import Preparation
from moco_dl.reference import build_reference
from moco_dl.samples import Samples, draw_samples, sample_runs

SAMPLED = 50 * 2**20  # bytes of frames that are sampled of any movie: 60 to 200 frames
LONG = 2  # times as many: how long a movie is from which on more of it are sampled
KEPT = 25 * 2**20  # bytes of sampled frames that are kept in memory; all, if others would be read with each
ENOUGH = 32 * 2**20  # bytes of those that the reference is made of: 40 to 100 frames
BATCH = 4 * 2**20  # bytes of frames that are computed at a time by a thread: 4 to 32 frames
BINNED = 240  # px, shorter side from which on binned frames show enough
RIGID_PASSES = 2  # the reference is estimated this often from rigidly registered samples


@dataclass(frozen=True)
class Correction:
    """A corrected movie in memory."""

    corrected: np.ndarray  # (T, H, W)
    fields: Fields
    reference: np.ndarray  # (H, W) float32


class Corrector:
    """Network and options, loaded once for many movies."""

    def __init__(self, options: CorrectOptions | None = None):
        """`options`: None for the defaults."""
        options = options or CorrectOptions()
        self.options, self.device = options, choose_device(options.device)
        self.network, self.weights_sha256 = None, None
        self.workers = Workers(options.threads, partial(own_stream, self.device))
        if not options.rigid_only:
            loaded = checkpoint.load(Path(options.weights or checkpoint.default_weights()))
            self.network = loaded.network.to(self.device, memory_format=torch.channels_last)
            self.weights_sha256 = loaded.sha256

    def prepare(self, movie: Movie, reference: np.ndarray | None = None) -> Plan:
        """Look at samples of `movie`: build the reference (H, W) unless given, and what else is needed."""
        reference = None if reference is None else checked_reference(reference, movie)
        size, own = movie.shape[1:], reference is None
        samples, small = self._sampled(movie)
        if own:
            reference, motion = self._reference(movie, samples, small)
        plan = Plan(
            reference,
            self._estimator(reference, self.network, self._binning(size, self.options.quality)),
            binning=self._binning(size, "fast"),
            apart=1 if self.options.quality == "best" else APART,
        )
        if self.network is None:
            return plan
        if not own:
            motion = self._motion(samples, plan.estimator)
        preparation = Preparation(self.options.smooth, own, self.workers.map)
        plan, motion, trusted = preparation.first_steps(plan, replace(small, motion=motion))
        del small  # the last step takes most memory
        return preparation.last_step(plan, samples, motion, trusted)

    def _sampled(self, movie: Movie) -> tuple[Samples, Samples]:
        """Samples as they are, and as the first steps see them: binned if frames are large."""
        factor, count = self._binning(movie.shape[1:], "fast"), movie.shape[0]
        return draw_samples(
            movie.read,
            sample_runs(count, self.options.ref_frames or frames_sampled(movie)),
            kept=frames_in(KEPT, movie, 1, count) if movie.frames_apart else count,
            shrunk=None if factor == 1 else partial(binned, factor=factor),
            mapping=self.workers.map,
        )

    def _reference(
        self, movie: Movie, samples: Samples, small: Samples
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Reference (H, W), made of some samples, and the motion of all if there is a network.

        Motion is found on `small` ones first. Not only because it is faster: in dim movies, averages show more
        than details.
        """
        size, factor = movie.shape[1:], self._binning(movie.shape[1:], "fast")
        some = samples.some(self.options.ref_frames or frames_in(ENOUGH, movie, 40, 100))
        few = samples.only(some)
        made = partial(build_reference, kind=self.options.ref, move=move_known, mapping=self.workers.map)
        reference, _ = made(small.only(some), estimates=[self._rigid_motion] * RIGID_PASSES)
        if self.network is None:
            return reference, None
        motion = torch.from_numpy(self._full_motion(small, reference))
        motion = enlarged(motion, factor, tuple(-(-n // STRIDE) for n in size)).numpy()
        reference = reference.repeat(factor, 0).repeat(factor, 1)[: size[0], : size[1]]
        reference, used = made(few, estimates=[lambda *_: motion[some]], first=reference)
        if factor > 1 and self.options.quality == "best":
            motion = self._full_motion(samples, reference)
            reference, used = made(few, estimates=[lambda *_: motion[some]], first=reference)
        return reference, motion + (used - motion[some])[0]  # less what those that were used have in common

    def _binning(self, size: tuple[int, int], quality: str) -> int:
        """Pixels a side over which frames of this size are averaged before their motion is estimated."""
        return 2 if self.network and quality == "fast" and min(size) >= BINNED else 1

    def _estimator(self, reference: np.ndarray, network: PyramidFlowNet | None, binning: int) -> Estimator:
        limit = self.options.max_shift
        limit = 0.15 * min(reference.shape) if limit is None else limit
        return Estimator(reference, network, max_shift=limit, device=self.device, binning=binning)

    def _rigid_motion(self, samples: Samples, reference: np.ndarray) -> np.ndarray:
        return self._motion(samples, self._estimator(reference, None, 1))[:, :, :1, :1]

    def _full_motion(self, samples: Samples, reference: np.ndarray) -> np.ndarray:
        return self._motion(samples, self._estimator(reference, self.network, 1))

    def _motion(self, samples: Samples, estimator: Estimator) -> np.ndarray:
        return np.concatenate([motion.total() for motion in self.workers.map(estimator, samples.chunks())])

    def batches(self, movie: Movie, plan: Plan, look: Callable[..., object] | None = None) -> Iterator[Batch]:
        """Correct `movie` batch by batch, in order: corrected frames and what was applied to them.

        `look(start, raw, corrected, motion)` is called by the threads; what it returns is the batch's `seen`.
        """
        dtype = np.dtype(self.options.dtype or movie.dtype)

        def applied(batch: Batch) -> Batch:
            motion = batch.motion.merged(FLOW_DTYPE)
            moved = move(batch.frames, motion, STRIDE, self.options.interpolation, plan.computing)
            moved = to_dtype(moved, dtype)
            return Batch(batch.start, moved, motion, look and look(batch.start, batch.frames, moved, motion))

        frames = read_batches(movie, self.options.batch_size or frames_in(BATCH, movie, 4, 32))
        yield from self.workers.map(applied, plan.motion(frames, self.workers.map))


def frames_in(size: int, movie: Movie, least: int, most: int) -> int:
    """How many frames of `movie` so many bytes hold, from `least` to `most`."""
    frame = movie.shape[1] * movie.shape[2] * movie.dtype.itemsize
    return min(most, max(least, size // frame))


def frames_sampled(movie: Movie) -> int:
    """How many frames stand for a movie: up to twice as many for long ones, which they delay less.

    But not if all must be kept in memory.
    """
    count = frames_in(SAMPLED, movie, 60, 200)
    return min(max(count, movie.shape[0] // LONG), 2 * count) if movie.frames_apart else count


def read_batches(movie: Movie, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of the first frame, frames (n, H, W)) over the whole movie."""
    for start in range(0, movie.shape[0], size):
        yield start, movie.read(range(start, min(start + size, movie.shape[0])))


def checked_reference(reference: np.ndarray, movie: Movie) -> np.ndarray:
    """`reference` as float32; raises NrcorrectError unless it is an image of the movie's frame size."""
    if reference.shape != movie.shape[1:]:
        raise NrcorrectError(
            f"reference has shape {reference.shape}; wanted {movie.shape[1:]}, the size of the movie's frames"
        )
    if reference.dtype.kind not in "iuf":
        raise NrcorrectError(f"reference has pixels of type {reference.dtype}; wanted real numbers")
    finite = reference[np.isfinite(reference)]
    if finite.size == 0 or finite.min() == finite.max():
        raise NrcorrectError("reference is empty or constant; wanted an image of the field of view")
    return reference.astype(np.float32)


def correct(frames: np.ndarray, reference: np.ndarray | None = None, **options: object) -> Correction:
    """Remove motion from a movie in memory.

    `frames` is `(T, H, W)`, any of the supported dtypes, at least 16x16 pixels; `reference` an image
    `(H, W)` to bring them onto, or None to build one from the movie. `options` are the fields of
    `CorrectOptions`. Returns the corrected frames in the same dtype (unless `dtype` says otherwise), the
    fields (pixels, (dy, dx), backward: `corrected[y, x] = frames[y + dy, x + dx]`) and the reference.
    Raises NrcorrectError for frames, a reference or options that cannot be used.
    """
    movie = ArrayMovie(np.asarray(frames))
    corrector = Corrector(CorrectOptions(**options))
    with workers_first():
        plan = corrector.prepare(movie, None if reference is None else np.asarray(reference))
        batches = list(corrector.batches(movie, plan))
    parts = [batch.motion.stored() for batch in batches]
    fields = Fields(
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        expected_error=plan.expected_error,
        stride=STRIDE,
        reference=plan.reference,
        metadata=metadata(corrector, plan),
    )
    return Correction(np.concatenate([b.frames for b in batches]), fields, plan.reference)


def metadata(corrector: Corrector, plan: Plan, **more: object) -> dict:
    """How fields were made: version, options, weights, smoothing, and whatever the caller adds."""
    from moco_dl import __version__

    options = {name: str(v) if isinstance(v, Path) else v for name, v in vars(corrector.options).items()}
    about = {"version": __version__, "options": options, "weights_sha256": corrector.weights_sha256}
    return about | {"smoothing_sigma_frames": plan.width} | more


def apply(frames: np.ndarray, fields: Fields, *, interpolation: str | None = None) -> np.ndarray:
    """Apply known fields to a movie (T, H, W) of the same size and length; the dtype stays.

    `interpolation` defaults to what the fields were made with. Raises NrcorrectError if the shapes differ.
    """
    movie = ArrayMovie(np.asarray(frames))
    return np.concatenate([part for _, part in apply_batches(movie, fields, interpolation=interpolation)])


def apply_batches(
    movie: Movie, fields: Fields, *, interpolation: str | None = None, dtype: str | None = None, size: int = 16
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of the first frame, frames moved by their fields, in `dtype` or the movie's)."""
    if fields.shape != movie.shape:
        raise NrcorrectError(
            f"the fields are for a movie {fields.shape}, this one is {movie.shape}; wanted the same"
            " number of frames and frame size"
        )
    mode = interpolation or fields.metadata["options"].get("interpolation", "bicubic")
    for start, frames in read_batches(movie, size):
        part = slice(start, start + len(frames))
        motion = Motion(fields.rigid[part], fields.flow[part], fields.flagged[part])
        moved = move(frames, motion, fields.stride, mode)
        yield start, to_dtype(moved, np.dtype(dtype or movie.dtype))
