"""Movies corrected: samples are looked at, then all frames go through in batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from moco_dl import checkpoint
from moco_dl.device import LARGEST_BATCH, choose_device, frames_at_once, own_stream, threads_on
from moco_dl.errors import NrcorrectError
from moco_dl.fields import FLOW_DTYPE, REACH, ROW_OFFSET, Fields
from moco_dl.formats.checks import SMALLEST, as_array
from moco_dl.intensity import clipped
from moco_dl.memory import frames_together
from moco_dl.movie import ArrayMovie, Movie, read_batches
from moco_dl.moving import move
from moco_dl.network import STRIDE
from moco_dl.options import CHOICES, CorrectOptions, options_of
from moco_dl.parallel import Workers, workers_first
from moco_dl.plan import Plan
from moco_dl.preparation import Preparation
from moco_dl.sampled.edges import blank_edges, filled_corners
from moco_dl.sampled.samples import without_infinite
from moco_dl.sampled.scan import straightened
from moco_dl.sampled.usable import refuse_extremes
from moco_dl.stream import Batch, gathered
from moco_dl.survey import Survey


@dataclass(frozen=True, eq=False)
class Correction:
    """A corrected movie in memory."""

    corrected: np.ndarray  # (T, H, W)
    fields: Fields
    reference: np.ndarray  # (H, W) float32


class Corrector:
    """Network and options, loaded once for many movies.

    Its workers are quickest within `parallel.workers_first`, which `correct` enters.
    """

    def __init__(self, options: CorrectOptions | None = None):
        """`options`: None for the defaults."""
        options = CorrectOptions() if options is None else options
        if not isinstance(options, CorrectOptions):
            raise NrcorrectError(f"options: got {type(options).__name__}; wanted moco_dl.CorrectOptions(...)")
        self.options, self.device = options, choose_device(options.device)
        self.network, self.weights_sha256 = None, None
        self.workers = Workers(threads_on(self.device, options.threads), partial(own_stream, self.device))
        if not options.rigid_only:
            loaded = checkpoint.load(Path(options.weights or checkpoint.default_weights()))
            self.network = loaded.network.to(self.device, memory_format=torch.channels_last)
            self.weights_sha256 = loaded.sha256

    def prepare(self, movie: Movie, reference: np.ndarray | None = None) -> Plan:
        """Look at samples of `movie`: build the reference (H, W) unless given, and what else is needed."""
        survey = Survey(movie, self.options, self.network, self.device, self.workers.map)
        given = None if reference is None else checked_reference(reference, movie)
        plan = self._prepared(survey, given)
        return replace(plan, reference=plan.clearing.as_recorded(plan.reference))

    def _prepared(self, survey: Survey, given: np.ndarray | None) -> Plan:
        """Its reference is one of frames as they are looked at."""
        plan, samples, small, nearer = survey.first_look(given)
        if self.network is None:
            return plan
        preparation = Preparation(self.options.smooth, nearer, self.workers.map)
        plan, motion, trusted = preparation.first_steps(plan, small)
        if plan.blind:
            del samples, small, motion
            return replace(replace(survey, network=None).first_look(given).plan, hidden=True)
        del small  # the last step takes most memory
        return preparation.last_step(plan, samples, motion, trusted).packed()

    def batches(self, movie: Movie, plan: Plan, look: Callable[..., object] | None = None) -> Iterator[Batch]:
        """Correct `movie` batch by batch, in order: corrected frames and what was applied to them.

        `look(start, raw, corrected, motion)` is called by the threads; what it returns is the batch's `notes`.
        """
        dtype = np.dtype(self.options.dtype or movie.dtype)

        def corrected(batch: Batch) -> Batch:
            motion = batch.motion.merged(FLOW_DTYPE)
            frames = straightened(batch.frames, plan.clearing.row_offset, motion.flagged)
            moved = move(frames, motion, STRIDE, self.options.interpolation, dtype, plan.computing)
            notes = None if look is None else look(batch.start, batch.frames, moved, motion)
            return Batch(batch.start, moved, motion, notes, clipped(batch.frames, dtype))

        size = self.options.batch_size or self._batch_size(movie)
        frames = read_batches(movie, size)
        yield from self.workers.map(corrected, plan.motion(frames, self.workers.map))

    def _batch_size(self, movie: Movie) -> int:
        if self.device.type == "cuda":
            return min(max(frames_at_once(self.device, movie.shape[1] * movie.shape[2]), 4), LARGEST_BATCH)
        return frames_together(movie)


def checked_reference(reference: np.ndarray, movie: Movie) -> np.ndarray:
    """`reference`, any array, as float32, NaN where its edges show nothing.

    Raises NrcorrectError unless it is an image of the movie's frame size.
    """
    if isinstance(reference, str) and reference in CHOICES["ref"]:
        raise NrcorrectError(f"reference: got {reference!r}; wanted an image: say ref={reference!r}")
    reference = as_array("reference", reference, "an image (height, width)")
    if reference.shape != movie.shape[1:]:
        raise NrcorrectError(
            f"reference has shape {reference.shape}; wanted {movie.shape[1:]}, the size of the movie's frames"
        )
    if reference.dtype.kind not in "iuf":
        raise NrcorrectError(f"reference has pixels of type {reference.dtype}; wanted real numbers")
    reference = without_infinite(reference)
    finite = reference[np.isfinite(reference)]
    if finite.size == 0 or finite.min() == finite.max():
        raise NrcorrectError("reference is empty or constant; wanted an image of the field of view")
    refuse_extremes(reference, "reference")
    (found,) = blank_edges(reference[None].astype(np.float32))
    found[filled_corners(found)] = np.nan
    if (known := np.isfinite(found).sum()) < SMALLEST**2 / 2:
        raise NrcorrectError(f"reference shows {known} pixels; wanted an image of the field of view")
    return found


def correct(frames: np.ndarray, reference: np.ndarray | None = None, **options: object) -> Correction:
    """Remove motion from a movie in memory.

    `frames` is `(T, H, W)`, any of the supported dtypes, at least 16x16 pixels; `reference` an image
    `(H, W)` to bring them onto, or None to build one from the movie. `options` are the fields of
    `CorrectOptions`. Returns the corrected frames in the same dtype (unless `dtype` says otherwise), the
    fields (pixels, (dy, dx), backward: `corrected[y, x] = frames[y + dy, x + dx]`, of frames less their
    `Fields.row_offset`) and the reference. Raises NrcorrectError for frames, a reference or options that cannot
    be used.
    """
    movie = ArrayMovie(frames)
    with workers_first():
        corrector = Corrector(options_of(options))
        plan = corrector.prepare(movie, reference)
        batches = corrector.batches(movie, plan)
        parts = ((batch.start, {"frames": batch.frames} | batch.motion.stored()) for batch in batches)
        whole = gathered(parts, movie.shape[0])
    corrected = whole.pop("frames")
    fields = Fields(
        **whole,
        expected_error=plan.expected_error,
        stride=STRIDE,
        reference=plan.reference,
        left_out=plan.left_out,
        metadata=metadata(corrector, plan),
    )
    return Correction(corrected, fields, plan.reference)


def metadata(corrector: Corrector, plan: Plan, **more: object) -> dict:
    """How fields were made: version, options, weights, what was measured, and whatever the caller adds."""
    from moco_dl import __version__

    options = {n: str(v) if isinstance(v, Path) else v for n, v in vars(corrector.options).items()}
    about = {"version": __version__, "options": options, "weights_sha256": corrector.weights_sha256}
    clearing = plan.clearing
    pattern = 0.0 if clearing.added is None else float(clearing.added.std())
    measured = {
        ROW_OFFSET: clearing.row_offset,
        "detector_pattern_rms": pattern,
        "hot_pixels_left_out": 0 if clearing.hot is None else len(clearing.hot),
        "share_left_out": clearing.edges.share,
        REACH: plan.reach,
        "row_levels_left_out": clearing.usual is not None,
        "waves_left_out": 0 if clearing.waves is None else len(clearing.waves.frequencies),
        "hidden_by_activity": plan.hidden,
        "haze_left_out_px": None if clearing.haze is None else clearing.haze.width,
        "noise_shared_by_neighbours": None if clearing.smear is None else clearing.smear.shared,
    }
    if plan.likeness is not None:
        measured["given_reference_correlation"] = plan.likeness
    return about | {"smoothing_sigma_frames": plan.width} | measured | more
