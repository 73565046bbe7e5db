"""Figures of both movies, measured once from what was summed up; a table shows, the verdict judges them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moco_dl.evaluation.flags import rescued
from moco_dl.evaluation.gaps import blank_gaps, filled, shared_part
from moco_dl.evaluation.metrics import band_passed, correlation, correlation_with_others, crispness, sharpness
from moco_dl.evaluation.origin import own_shown
from moco_dl.evaluation.residual import brought_onto, component_shifts, flow_possible, residual_flow, shifts
from moco_dl.evaluation.results import Traces
from moco_dl.evaluation.tally import Tally
from moco_dl.evaluation.verdict import SAME_SCENE, Evidence
from moco_dl.sampled.spikes import hot_pixels

if TYPE_CHECKING:
    from moco_dl.evaluation.evaluator import Evaluator

MAX_SHIFT = 0.15  # of the shorter side


@dataclass(frozen=True)
class Figures:
    """Single figures of both movies, (before, after)."""

    correlation: tuple[float, float]  # with the reference
    crispness: tuple[float, float]
    correlation_image: tuple[float, float]
    shift: tuple[float, float]  # px
    components: tuple[float, float]  # px
    flow: tuple[float, float]  # px
    evidence: Evidence


def measure(evaluator: "Evaluator", traces: Traces) -> Figures:
    """Figures of both movies from what an `Evaluator` has summed up.

    Images are compared where both movies have data: the edge of a gap would count as sharp.
    """
    tallies, watch, factor = evaluator.tallies, evaluator.watch, evaluator.moments.factor
    gaps = tallies[0].gaps | tallies[1].gaps
    known = [np.isfinite(tally.kept).all(axis=(1, 2)) for tally in tallies]
    part = (known[0] & known[1], *shared_part(gaps, factor))
    kept = [tally.kept[part] for tally in tallies]
    shift, components = _pair(_rigid_motion, kept, factor), _pair(_component_motion, kept, factor)
    fit = _pair(finite_mean, (traces.correlation_before, traces.correlation_after))
    evidence = Evidence(
        sharpness=_pair(_sharpness, tallies, gaps | (hot_pixels(filled(tallies[0].mean)) != 0)),
        # What is less: noise adds to either, activity to the components.
        motion=tuple(float(np.fmin(*both)) for both in zip(shift, components, strict=True)),
        fit=fit if evaluator.given else (np.nan, np.nan),
        agreement=_pair(_agreement, kept),
        scene=_same_scene(*kept),
        reference=_like_reference(tallies[1].mean, watch.reference) if evaluator.given else np.nan,
        steps=tuple(float(tally.steps.ratio) for tally in tallies),
        folded=finite_mean(watch.values["folded"]) if watch.stride else 0.0,
        rescued=int(rescued(traces.correlation_before, traces.correlation_after).sum()),
        flagged=float(np.mean([bool(words) for words in traces.flags])),
        own=own_shown(*kept, MAX_SHIFT * min(kept[0].shape[1:])),
        rows=evaluator.rows.found(),
        limits=tuple(tally.limits.share for tally in tallies),
    )
    return Figures(
        fit,
        _pair(_crispness, [tally.mean for tally in tallies], gaps),
        _pair(_crispness, [tally.pairs.image() for tally in tallies], gaps),
        shift,
        components,
        _pair(_flow, tallies, watch.reference, shared_part(gaps, 1)),
        evidence,
    )


def finite_mean(values: np.ndarray) -> float:
    """Mean of what is finite, or NaN."""
    return np.mean(values[np.isfinite(values)]) if np.isfinite(values).any() else np.nan


def _pair(function: Callable, both: Sequence, *more: object) -> tuple[float, float]:
    return tuple(float(function(one, *more)) for one in both)


def _rigid_motion(kept: np.ndarray, factor: int) -> float:
    """Mean distance of frames (n, h, w) from their middle position, in full px, against their own mean."""
    if len(kept) < 2:
        return np.nan
    found = factor * shifts(kept, kept.mean(axis=0), MAX_SHIFT * min(kept.shape[1:]))
    return np.hypot(*(found - np.median(found, axis=0)).T).mean()


def _component_motion(kept: np.ndarray, factor: int) -> float:
    found = component_shifts(kept, MAX_SHIFT * min(kept.shape[1:]))
    return factor * found.mean() if len(found) else np.nan


def _sharpness(tally: Tally, gaps: np.ndarray) -> float:
    return sharpness(*(blank_gaps(gaps, half) for half in tally.half_means))


def _crispness(image: np.ndarray | None, gaps: np.ndarray) -> float:
    return np.nan if image is None else crispness(blank_gaps(gaps, image))


def _flow(tally: Tally, reference: np.ndarray, part: tuple[slice, slice]) -> float:
    if not flow_possible() or not tally.flow_means:
        return np.nan
    image = filled(reference)[part]
    return np.mean([residual_flow(mean[part], image) for mean in tally.flow_means])


def _agreement(kept: np.ndarray) -> float:
    return finite_mean(correlation_with_others(band_passed(kept))) if len(kept) > 1 else np.nan


def _like_reference(after: np.ndarray, reference: np.ndarray) -> float:
    """Correlation of the corrected mean image (H, W) with the reference."""
    if not (np.isfinite(after) & np.isfinite(reference)).any():
        return np.nan
    return _alike(*(filled(image)[None] for image in (reference, after)))


def _same_scene(before: np.ndarray, after: np.ndarray) -> float:
    """Correlation of the mean images of frames (n, h, w), the first brought onto the second by whole px.

    All at once; or, as they may have drifted far over one another, each onto its own, if that shows far more
    than if these are mirror images: noise, too, is brought to where it is like a scene.
    """
    if len(before) == 0:
        return np.nan
    once = _alike(before.mean(axis=0, keepdims=True), after.mean(axis=0, keepdims=True))
    each, mirrored = (_alike(before, other) for other in (after, after[:, :, ::-1]))
    return max(once, each) if each - mirrored > SAME_SCENE / 2 else once


def _alike(before: np.ndarray, after: np.ndarray) -> float:
    """Correlation of the mean images of frames (n, h, w), each brought onto its partner by whole px."""
    limit = MAX_SHIFT * min(before.shape[1:])
    brought = np.zeros(before.shape[1:])
    for frame, other in zip(before, after, strict=True):
        brought += brought_onto(frame, other, limit) / len(before)
    return correlation(*band_passed(np.stack([brought, after.mean(axis=0)])))
