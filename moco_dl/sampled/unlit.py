"""Frames without light: of a shutter that is closed for some time, or a laser that is off.

They tell nothing of the scene, but are as good as others by themselves. If they are many, they would pass for
what is usual.
"""

import numpy as np

BRIGHT = 0.95  # quantile of the frames' levels that stands for bright ones
DARK = 0.25  # of the way from the darkest frame to these, beyond which none is dark
SURE = 6.0  # standard errors of the correlation of two halves, from which on dark frames show something
SHOWN = 0.05  # share of the light in which bright ones show the scene: dark ones with more show it, too
SEEN = 5.0  # standard deviations of a dark frame's correlation with these, of the highest: noise makes up to 4
LEAST = 1000  # pixels of a thumbnail: fewer tell too little
APART = 2  # pixels between those whose differences are looked at: shading by stray light has next to none


def unlit(small: np.ndarray) -> np.ndarray:
    """(n,) bool: which of frames, by their `thumbnails` (n, h, w), are dark and show nothing.

    They have nothing in common with one another, and next to nothing with what the halves of the others share.
    """
    levels, none = small.mean(axis=(1, 2)), np.zeros(len(small), bool)
    darkest = levels.min()
    dark = levels < darkest + DARK * (np.quantile(levels, BRIGHT) - darkest)
    if small[0].size < LEAST or min(dark.sum(), (~dark).sum()) < 2:
        return none
    in_dark, in_bright = (
        [_details(some[half::2].mean(axis=0, dtype=np.float64)) for half in (0, 1)]
        for some in (small[dark], small[~dark])
    )
    if _correlation(*in_dark) > SURE / np.sqrt(in_dark[0].size):
        return none
    scene = np.fft.rfft2(sum(in_bright)).conj()
    shared = np.fft.irfft2(np.fft.rfft2(sum(in_dark)) * scene, s=in_dark[0].shape).max() / 4
    if shared > SHOWN * (in_bright[0] * in_bright[1]).sum():
        return none
    highest = []
    for frame in small[dark]:  # wherever it has the scene: their mean may be blurred
        seen = np.fft.irfft2(np.fft.rfft2(_details(frame)) * scene, s=in_dark[0].shape)
        highest.append(seen.max() / max(seen.std(), 1e-30))
    return dark if np.median(highest) < SEEN else none


def _details(image: np.ndarray) -> np.ndarray:
    """Differences of pixels of an image (h, w) along a diagonal."""
    return image[APART:, APART:] - image[:-APART, :-APART]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of images whose means are about zero."""
    return float((one * other).sum() / max(np.sqrt(np.square(one).sum() * np.square(other).sum()), 1e-30))
