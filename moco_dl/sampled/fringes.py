"""Oblique stripes, grids and interference fringes, which stay in place while the tissue moves.

They are at a few spatial frequencies, where they are far stronger than all that is around, and hold even
whole-frame shifts. Stripes along rows or columns, where edges of the view show, too, are left to `pattern.py`.
"""

import numpy as np

from moco_dl.reference import mean_of
from moco_dl.sampled.inplace import blur
from moco_dl.sampled.samples import Samples
from moco_dl.spectrum import frequency, shared_power

BLURRED = 0.9  # of a frequency's power: where motion leaves more, what stays is not told from the scene
RING = 1 / 64  # cycles/px, within which scene and noise are about as strong in most directions
OTHERS = 12  # frequencies there, of fewer of which chance may make what seems usual
PEAK = 4.0  # times as strong as is usual there
SHARED = 0.5  # of what is not explained there: less is in both halves of the samples by chance
LEFT = 0.1  # of what motion takes of the scene's power: as much may be left where it is not known well
FEW = 8.0  # times as strong as usual: few frequencies of a scene are
HELD = 0.15  # of all that tells of shifts: if more is at few frequencies, they may hold these
FAINT = 0.025  # of the reference's contrast: what a glance shows of those that matter is stronger
TELL = 1 / 40, 0.3  # cycles/px, from which to which frequencies tell of shifts


def share_of_fringes(halves: np.ndarray, left: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Share of each frequency (H, W // 2 + 1) that is of oblique stripes, of a grid or fringes.

    They are in both `halves` (2, H, W // 2 + 1), spectra of what the `reference` (H, W) does not explain, where
    motion leaves the power that is `left`.
    """
    known = left < BLURRED
    known[0] = known[:, 0] = False  # the view's edges show there
    shared, power = shared_power(*halves)
    taken = np.abs(np.fft.rfft2(_filled(reference)) * (1 - left)) ** 2
    around, count = _usual(power, known, reference.shape), np.maximum(_beside(known.astype(float)), 1)
    stays, seen, shown = (_beside(known * values) / count for values in (shared, power, taken))
    clear = known & (stays > PEAK * around) & (stays > SHARED * seen) & (stays > LEFT * shown)
    clear = (left < BLURRED) & (_beside(clear.astype(float)) > 0)  # and what is next to them
    share = np.zeros(known.shape)
    share[clear] = np.clip((shared - around)[clear] / np.maximum(power[clear], 1e-30), 0, 1)
    return share


def are_in_place(samples: Samples, shifts: np.ndarray, reference: np.ndarray) -> bool:
    """Whether there are any in samples that move by whole-frame `shifts` (n, 2) px from the `reference` (h, w).

    A glance at their mean as they were recorded, less what the shifts leave there of the reference.
    """
    if len(samples) < 2:
        return False
    size, halves = reference.shape, []
    window = np.outer(*map(np.hanning, size))
    scene = np.fft.rfft2(_filled(reference))
    for half in (0, 1):
        places = np.arange(len(samples)) % 2 == half
        explained = np.fft.irfft2(scene * blur(shifts[places], size), s=size)
        rest = _filled(mean_of(samples.only(places))) - explained
        halves.append(np.fft.rfft2(window * rest))
    left, shown = np.abs(blur(shifts, size)) ** 2, window * _filled(reference)
    fringes = share_of_fringes(np.stack(halves), left, shown) * np.mean(halves, axis=0)
    return bool(np.fft.irfft2(fringes, s=size).std() > FAINT * shown.std())


def may_hold(reference: np.ndarray) -> bool:
    """Whether much of what tells of shifts from a reference (h, w) is at so few frequencies as fringes are."""
    strength, usual = _strength(reference)
    waves = frequency(reference.shape)
    tells = np.where((waves > TELL[0]) & (waves < TELL[1]), strength**1.5, 0)
    return bool(tells[strength**2 > FEW * usual**2].sum() > HELD * tells.sum())


def evened(reference: np.ndarray) -> np.ndarray:
    """Reference (h, w) float32 with less of what is stronger than usual: the stronger, the less is left."""
    strength, usual = _strength(reference)
    few = np.minimum(usual / np.maximum(strength, 1e-12), 1) ** 2
    return np.fft.irfft2(np.fft.rfft2(_filled(reference)) * few, s=reference.shape).astype(np.float32)


def halved(image: np.ndarray) -> np.ndarray:
    """(2, h, w) float32 that add up to an image (h, w), each of half of its frequencies, drawn at random."""
    spectrum = np.fft.rfft2(image)
    drawn = np.random.default_rng(0).random(spectrum.shape) < 0.5
    return np.fft.irfft2(np.stack([spectrum * drawn, spectrum * ~drawn]), s=image.shape).astype(np.float32)


def _strength(reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """That of the frequencies (h, w // 2 + 1) of a reference (h, w), and what is usual at such."""
    strength = np.abs(np.fft.rfft2(_filled(reference) * np.outer(*map(np.hanning, reference.shape))))
    return strength, np.sqrt(_usual(strength**2, np.ones(strength.shape, bool), reference.shape))


def _usual(power: np.ndarray, known: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How strong frequencies (H, W // 2 + 1) are where there is only what there is in most directions.

    That is the mean of noise, half of which is below log 2 of it; infinite where few are `known`.
    """
    ring, around = (frequency(size) / RING).astype(int), np.full(power.shape, np.inf)
    for each in np.flatnonzero(np.bincount(ring[known]) >= OTHERS):
        around[ring == each] = np.median(power[known & (ring == each)]) / np.log(2)
    return around


def _beside(values: np.ndarray) -> np.ndarray:
    """Sums of values (H, W // 2 + 1) of a spectrum over 3x3 frequencies."""
    rows = values + np.roll(values, 1, 0) + np.roll(values, -1, 0)
    return sum(np.pad(rows, ((0, 0), (1, 1)), mode="reflect")[:, x : x + values.shape[1]] for x in range(3))


def _filled(image: np.ndarray) -> np.ndarray:
    """Image (h, w) less its mean, which stands where there is none."""
    return np.nan_to_num(image - np.nanmean(image))
