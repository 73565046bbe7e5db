"""Single pixels that show no light: of a frame, a cosmic ray, a discharge, a number that has wrapped around; of
all frames, hot ones.

One of them may outweigh all else that a frame shows.
"""

import numpy as np

SHARE = 0.1  # of a frame's variance, that one pixel of a cell never has
LINES = 8  # rows of which one is looked at first
LIMIT = 10.0  # standard deviations of the others, that are left of a spike
PASSES = 4  # in which spikes are looked for: the largest hide others
AROUND = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]  # from one pixel up and to the left
STICKS_OUT = 3.0  # times the range of the pixels around it, by which a hot or dead pixel is beyond them all


def always_hot(halves: np.ndarray) -> np.ndarray | None:
    """(k,) places, in frames seen as one line, of pixels that are hot or dead in both mean images (2, H, W).

    None: there are none. Light spreads over more than one pixel, so they show no tissue, moving or not.
    """

    def beyond(half: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # of frames that cannot be judged
            return np.sign(hot_pixels(np.nan_to_num(half, nan=np.nanmean(half))))

    first = beyond(halves[0])
    hot = np.isfinite(halves).all(axis=0) & (first != 0)
    if hot.any():  # mostly none is
        hot &= first * beyond(halves[1]) > 0
    places = np.flatnonzero(hot)
    return places if len(places) else None


def without_hot(frames: np.ndarray, places: np.ndarray | None) -> np.ndarray:
    """Frames (n, H, W) with the mean of the pixels around at `places` (k,), see `always_hot`."""
    if places is None:
        return frames
    height, width = frames.shape[1:]
    rows, columns = np.divmod(places, width)
    around = [(_reflected(rows + y - 1, height), _reflected(columns + x - 1, width)) for y, x in AROUND]
    with np.errstate(over="ignore", invalid="ignore"):  # of frames that cannot be judged
        mean = np.mean([frames[:, y, x] for y, x in around], axis=0, dtype=np.float64)
    frames = frames.copy()
    frames[:, rows, columns] = mean if frames.dtype.kind == "f" else np.rint(mean)
    return frames


def _reflected(places: np.ndarray, size: int) -> np.ndarray:
    """Places along an axis, those beyond its ends reflected."""
    places = np.abs(places)
    return np.minimum(places, 2 * (size - 1) - places)


def without_spikes(frames: np.ndarray) -> np.ndarray:
    """Frames (n, H, W) with spikes clipped; as they are, if there are none."""
    with np.errstate(over="ignore", invalid="ignore"):  # of frames that cannot be judged
        spiked = [t for t, frame in enumerate(frames) if _may_have_spikes(frame)]
        if spiked:
            frames = frames.copy()
            for t in spiked:
                _clip(frames[t])
    return frames


def _may_have_spikes(frame: np.ndarray) -> bool:
    low, high, some = float(frame.min()), float(frame.max()), frame[::LINES].astype(np.float64)
    if not np.isfinite(high - low):
        known, some = frame[np.isfinite(frame)], some[np.isfinite(some)]
        if not len(known) or not len(some):
            return False
        low, high = float(known.min()), float(known.max())
    middle = some.mean()
    return max(high - middle, middle - low) > np.sqrt(SHARE * frame.size) * some.std()


def _clip(frame: np.ndarray) -> None:
    """Clip spikes of a frame (H, W) in place."""
    known = np.isfinite(frame)
    values = frame[known].astype(np.float64)
    spikes = np.zeros(len(values), bool)
    for _ in range(PASSES):
        middle, spread = values[~spikes].mean(), values[~spikes].std()
        more = np.abs(values - middle) > np.sqrt(SHARE * len(values)) * spread
        if spread == 0 or not (more & ~spikes).any():
            break
        spikes |= more
    if spread > 0:
        values[spikes] = values[spikes].clip(middle - LIMIT * spread, middle + LIMIT * spread)
        frame[known] = values


def hot_pixels(image: np.ndarray) -> np.ndarray:
    """How far pixels of a mean image (H, W) stick out from the eight around them; zero where they do not."""
    height, width = image.shape
    padded = np.pad(image, 1, mode="reflect")
    around = [padded[y : y + height, x : x + width] for y, x in AROUND]
    low, high = np.min(around, axis=0), np.max(around, axis=0)
    spread, beyond = high - low, np.maximum(image - high, low - image)
    sticks_out = beyond > STICKS_OUT * np.maximum(spread, np.median(spread))
    return np.where(sticks_out, image - np.mean(around, axis=0), 0.0)
