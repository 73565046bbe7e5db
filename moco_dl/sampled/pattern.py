"""A detector's own pattern: what stays in place while the tissue moves.

Hot pixels, pixels or columns of unequal offset or gain, and the fibres of a bundle, would hold any estimate of
motion to where they are. The mean of frames as they were recorded shows them sharp, and the scene blurred; the
reference, moved to where each frame has seen it, tells what the scene adds to that mean.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from moco_dl.sampled.fringes import BLURRED, share_of_fringes
from moco_dl.sampled.inplace import WHOLE, blur, in_all
from moco_dl.sampled.samples import Samples
from moco_dl.sampled.spikes import hot_pixels
from moco_dl.sampled.unexplained import inverse_density, unexplained
from moco_dl.spectrum import frequency, shared_power

GLANCED = 32  # samples
MOVING = 0.1  # of the power of most spatial frequencies: if motion leaves more, the scene looks like a pattern
FINE = 0.3  # cycles/px, from which on there is nothing of the scene: a pattern is as strong as it is there
SURE = 5.0  # standard errors by which two halves of the samples must be alike
ALIKE = 0.999  # correlation that is not told from 1
BAND = 1 / 64  # cycles/px, within which noise is taken to be alike
GRAIN = 1 / 24  # cycles/px, the same where it is asked whether a pattern is coarser than pixels
TAKEN = 0.3  # of a frequency's power: motion that leaves less has taken away what the scene shows there
LEFT = 0.1  # of the scene's power: what stays in place there if it is grain; movies without leave up to 0.05
LARGEST = 3.0  # times as strong as in single pixels: grain, at the frequencies that show it
TOLD = 0.05  # of a frequency's power: if motion takes less, hardly anything is told of grain there
MORE = 4.0  # times as strong as at the first frequencies that show it: grain that is coarser, at most
SHARED = 0.5  # of what is not explained there: less is in both halves of the samples if there is no pattern
UNLIKE = 0.1  # of its mean: the strength of fibres' grain in frames differs by less
STRIPES = 4.0  # times as strong as all else that is not explained at such frequencies, noise among it
ALONG = 0.5  # of frequencies along rows or columns: if motion tells of fewer, the scene may look like stripes
OTHERS = 12  # frequencies, of fewer of which chance may make what seems little beside a few of stripes
UNLIKE_STRIPES = 0.4  # the same of stripes: the scene that moves beside them is striped, too
SETTLED = 0.05  # of the reference's contrast: a pattern that changes by less changes motion by next to nothing
MOST = 0.5  # of a pattern's power
LASTS = 0.8  # of a pattern: less is left of what was the scene, which motion explains
RESTS = 0.75  # of what motion leaves: if less is left where all places count alike, tissue mostly rests at one


class Pattern(NamedTuple):
    """What stays in place."""

    image: np.ndarray  # (H, W) float32, adds to all frames as recorded
    grain: bool  # that of fibres, coarser than pixels
    fringes: bool  # most of it is oblique stripes, a grid or fringes

    def differs(self, other: "Pattern | None", reference: np.ndarray) -> bool:
        """Whether motion from a `reference` (H, W) is another without it than without the `other`, if any."""
        change = self.image if other is None else self.image - other.image
        return bool(change.std() >= SETTLED * np.nanstd(reference))

    def lasts(self, again: "Pattern") -> bool:
        """Whether most of it is in what is found `again`, where the scene is explained better."""
        image = self.image - self.image.mean()
        return float((image * again.image).sum()) > LASTS * float(np.square(image).sum())


def fixed_pattern(
    samples: Samples,
    reference: np.ndarray,
    mapping: Callable = map,
    before: Pattern | None = None,
    *,
    fringed: bool = False,
) -> Pattern | None:
    """Pattern of all frames of a movie; None: nothing is seen of one.

    Some `samples` are looked at before all are, unless it may be `fringed`: oblique stripes, fringes and grids
    are looked for only then, or if they were found `before`. Motion is from `reference` (H, W), which may be
    made of samples less the pattern that was found `before`; then it is of the same kind. Apart from hot and
    dead ones, pixels and columns of a pattern are taken to have nothing to do with one another. So its spectrum
    is flat, as strong as where the scene and errors of its motion show nothing. Of each frequency is kept what
    that explains (Wiener). What is far stronger at coarser frequencies is the grain of fibres, of which as much
    is kept as motion tells, each time it is estimated; at a few, stripes and fringes. Pixels that are hardly
    seen have none.
    """
    fringed = fringed or (before is not None and before.fringes)
    glance = None if fringed or before is not None else samples.glanced(GLANCED)
    if glance is not None and _pattern(glance, reference, mapping, None, fringed) is None:
        return None
    return _pattern(samples, reference, mapping, before, fringed)


def _pattern(
    samples: Samples, reference: np.ndarray, mapping: Callable, before: Pattern | None, fringed: bool
) -> Pattern | None:
    """The same from all of them."""
    shifts, some = samples.motion.mean(axis=(2, 3)), samples.glanced(GLANCED)
    there, rested = blur(shifts, reference.shape), False
    left, weights = np.abs(there) ** 2, np.ones(len(samples))  # of each frequency's power
    if np.median(left) > MOVING and (before is None or not before.grain):
        even = inverse_density(shifts)
        less = np.abs(blur(shifts, reference.shape, even) * there)
        rested = bool(np.median(less) <= min(TAKEN, RESTS * np.median(left)))
        left, weights = (less, even) if rested else (left, weights)
    if np.median(left) > TAKEN:
        return None
    means = unexplained(samples, reference, weights, mapping)
    spikes = hot_pixels(means.mean(axis=0))
    # The reference no longer has in it what is taken to be the pattern so far; nor have these their spikes.
    known = 0 if before is None else np.fft.rfft2(before.image - spikes)
    halves = np.where(left < BLURRED, np.fft.rfft2(means - spikes) - left * known, 0)
    fringes = share_of_fringes(halves, left, reference) if fringed else np.zeros(left.shape)
    if (before is None or before.grain) and not rested:
        share = _share_of_grain(halves, left, reference)
        if share is not None:
            told = np.square(1 - left) / (np.square(1 - left) + TOLD)
            share = np.maximum(share, fringes)
            grain = known + told * (share * _found(halves, left) - known)
            surely = np.fft.irfft2(np.where(left < TAKEN, grain, 0), s=reference.shape)
            if in_all(some, surely, UNLIKE):
                image = spikes + np.fft.irfft2(grain, s=reference.shape)
                return Pattern(image.astype(np.float32), True, _is_most(fringes * _found(halves, left), grain))
        if before is not None:
            return None
    if np.median(left) > MOVING and not rested:
        return None
    halves /= np.maximum(1 - left, 1 - BLURRED)
    gain, stripes = _gain(halves, reference.shape), np.maximum(fringes, _stripes(halves, left, reference))
    striped = np.fft.irfft2(stripes * halves.mean(axis=0), s=reference.shape)
    if stripes.any() and in_all(some, striped, UNLIKE_STRIPES):
        gain = np.maximum(gain, stripes)
    image = spikes + np.fft.irfft2(gain * halves.mean(axis=0), s=reference.shape)
    fringed = _is_most(np.minimum(fringes, gain) * halves.mean(axis=0), gain * halves.mean(axis=0))
    if rested and image.any() and not in_all(some, image - spikes, UNLIKE_STRIPES):
        return None
    return Pattern(image.astype(np.float32), False, fringed) if image.any() else None


def _share_of_grain(halves: np.ndarray, left: np.ndarray, reference: np.ndarray) -> np.ndarray | None:
    """Share of each frequency (H, W // 2 + 1) that is grain in the mean of two spectra (2, H, W // 2 + 1).

    These are of what the `reference` (H, W) does not explain, where motion leaves the power that is `left`.
    None: nothing coarser than pixels stays in place where motion takes away what the scene shows. Where motion
    takes less, what else is unexplained may be mistaken for grain, which is taken to be hardly stronger there.
    """
    waves, taken = frequency(reference.shape), left < TAKEN
    taken[0] = taken[:, 0] = False  # rows and columns
    ring, fine = (waves / GRAIN).astype(int), taken & (waves >= FINE)
    shared, power = shared_power(*halves)
    stays, seen, shown = (_means(values, ring, taken) for values in (shared, power, _of_the_scene(reference)))
    alike = np.clip(stays / np.maximum(seen, 1e-30), 0, ALIKE)
    clear = np.arctanh(alike) * np.sqrt(np.bincount(ring.ravel(), taken.ravel())) > SURE
    coarser = stays > LARGEST * max(shared[fine].mean(), 0)
    found = np.flatnonzero(clear & coarser & (alike > SHARED) & (stays > LEFT * shown))
    if not len(found):
        return None
    share = np.clip(_means(shared, ring) / np.maximum(_means(power, ring), 1e-30), 0, 1)
    whole = _means(np.square(np.abs(_found(halves, left))), ring)
    share[: found[0]] = np.minimum(MORE * stays[found[0]] / np.maximum(whole, 1e-30), 1)[: found[0]]
    return share[ring]


def _gain(halves: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share of each frequency that is pattern in the mean of two spectra (2, H, W // 2 + 1), `size` (H, W)."""
    waves, (shared, power) = frequency(size), shared_power(*halves)
    mean, gain = np.abs(halves.mean(axis=0)) ** 2, np.zeros(waves.shape)
    for which in (np.s_[:1, 1:], np.s_[1:, :1], np.s_[1:, 1:]):  # columns, rows, pixels
        fine = waves[which] >= FINE
        strength = shared[which][fine].mean()
        alike = np.clip(strength / max(power[which][fine].mean(), 1e-30), -ALIKE, ALIKE)
        if np.arctanh(alike) * np.sqrt(fine.sum()) > SURE:  # Fisher: standard errors of a correlation
            band = (waves[which] / BAND).astype(int)
            gain[which] = (strength / np.maximum(_means(mean[which], band), strength))[band]
    return gain


def _stripes(halves: np.ndarray, left: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Share of each frequency (H, W // 2 + 1) that is stripes along rows or columns, as wide as motion tells.

    They are in both `halves` (2, H, W // 2 + 1), far stronger than all that is there in other directions.
    """
    band, known = (frequency(reference.shape) / BAND).astype(int), left < BLURRED
    (shared, power), scene = shared_power(*halves), _of_the_scene(reference)
    gain = np.zeros(known.shape)
    others = known.copy()
    others[0] = others[:, 0] = False
    few = np.bincount(band[others], minlength=band.max() + 1) < OTHERS
    around = np.where(few, np.inf, _means(power, band, others))
    for line in (np.s_[:1, 1:], np.s_[1:, :1]):  # columns, rows
        along = np.zeros(known.shape, bool)
        along[line] = True
        which = along & known
        stays, seen, shown = (_means(values, band, which) for values in (shared, power, scene))
        clear = (stays > STRIPES * around) & (stays > SHARED * seen) & (stays > LEFT * shown)
        clear &= _means(known, band, along) >= ALONG
        share = np.where(clear, (stays - around / 2) / np.maximum(seen, 1e-30), 0)
        gain[which] = share[band[which]]
    return gain


def _means(values: np.ndarray, band: np.ndarray, which: np.ndarray | tuple[slice, slice] = WHOLE) -> np.ndarray:
    """(k,) means of values (h, w) over each `band`, (h, w) of their numbers from 0; of some, `which` (h, w)."""
    bands, size = band[which].ravel(), band.max() + 1
    count, total = np.bincount(bands, None, size), np.bincount(bands, values[which].ravel(), size)
    return total / np.maximum(count, 1)


def _found(halves: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Spectrum of what stays in place, from two of what is not explained where motion has `left` some of it."""
    return halves.mean(axis=0) / np.maximum(1 - left, 1 - BLURRED)


def _of_the_scene(reference: np.ndarray) -> np.ndarray:
    """Power of the frequencies (H, W // 2 + 1) of a reference (H, W), its mean where there is none."""
    scene = np.fft.rfft2(np.where(np.isfinite(reference), reference, np.nanmean(reference)))
    return np.square(np.abs(scene))


def _is_most(part: np.ndarray, whole: np.ndarray) -> bool:
    """Whether part of a spectrum has most of its power."""
    return bool(np.square(np.abs(part)).sum() > MOST * np.square(np.abs(whole)).sum())
