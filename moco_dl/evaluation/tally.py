"""What is summed over the frames of one movie: images and a few small frames, whatever its length."""

import numpy as np

from moco_dl.evaluation.gaps import filled, in_lines
from moco_dl.evaluation.limits import Limits
from moco_dl.evaluation.metrics import inner
from moco_dl.evaluation.moments import Moments, place_in

UNCHANGED = 20  # frames over which a pixel that does not change holds no data; noise does not leave it alone


class Tally:
    """Sums over a movie (T, H, W), fed frame by frame, in order."""

    def __init__(self, shape: tuple[int, int, int], moments: Moments, places: dict[str, int]):
        """`places` of the kymographs: a "row" y and a "column" x."""
        size = shape[1:]
        small = tuple(side // moments.factor for side in size)
        self.moments, self.places = moments, places
        self.halves, self.counts = np.zeros((2, *size)), [0, 0]  # every other frame
        self.missing = np.zeros(size, np.int32)  # frames in which a pixel has no data
        self.kept = np.full((len(moments.kept), *small), np.nan, np.float32)
        self.preview = np.zeros((len(moments.preview.starts), *small), np.float32)
        self.preview_counts = np.zeros(len(self.preview), int)
        self.flow = np.zeros((len(moments.flow.starts), *size), np.float32)
        self.flow_counts = np.zeros(len(self.flow), int)
        count = len(moments.lines)
        self.rows = np.full((count, size[1]), np.nan, np.float32)
        self.columns = np.full((count, size[0]), np.nan, np.float32)
        self.pairs, self.steps = PairSums(size), Steps(size)
        self.limits = Limits(size)

    def add(self, t: int, frame: np.ndarray, small: np.ndarray | None) -> None:
        """Frame t, (H, W), and its binned form if `moments` wants it."""
        image = filled(frame)
        if frame.dtype.kind == "f":
            self.missing += ~np.isfinite(frame)
        half = sum(self.counts) % 2  # not by t: of frames that take turns, one kind may show nothing
        self.halves[half] += image
        self.counts[half] += 1
        kept = place_in(self.moments.kept, t)
        self.steps.add(t, image, wanted=kept is not None)
        if t % self.moments.paired_step == 0:
            self.pairs.add(image)
        if (i := self.moments.flow.bin_of(t)) is not None:
            self.flow[i] += image
            self.flow_counts[i] += 1
        if (i := place_in(self.moments.lines, t)) is not None:
            self.rows[i], self.columns[i] = image[self.places["row"]], image[:, self.places["column"]]
        if small is None:
            return
        if kept is not None:
            self.limits.add(frame)
            self.kept[kept] = small
        if (i := self.moments.preview.bin_of(t)) is not None:
            self.preview[i] += small
            self.preview_counts[i] += 1

    @property
    def gaps(self) -> np.ndarray:
        """(H, W) bool: pixels without data in most frames, or that never change, as borders that tools fill.

        Not single ones: of few photons, those that happen to see none would go, and the means of two halves of
        the frames would differ by what is left.
        """
        unchanged = (self.pairs.squares == 0) & (self.pairs.count >= UNCHANGED)
        return in_lines(unchanged) | (self.missing > sum(self.counts) / 2)

    @property
    def mean(self) -> np.ndarray:
        """(H, W) float32; NaN if no frame could be judged."""
        return _divide(self.halves.sum(axis=0), sum(self.counts)).astype(np.float32)

    @property
    def half_means(self) -> tuple[np.ndarray, np.ndarray]:
        """Means of two halves of the frames, each of every other one, (H, W)."""
        return tuple(_divide(half, count) for half, count in zip(self.halves, self.counts, strict=True))

    @property
    def preview_means(self) -> np.ndarray:
        """(k, h, w) float32."""
        return np.stack(
            [_divide(*pair) for pair in zip(self.preview, self.preview_counts.tolist(), strict=True)]
        )

    @property
    def flow_means(self) -> list[np.ndarray]:
        """Means (H, W) of those moments of residual flow that can be judged."""
        pairs = zip(self.flow, self.flow_counts, strict=True)
        return [image / np.float32(count) for image, count in pairs if count]


class Steps:
    """How much frames differ from the one before, and from the one before that.

    Noise that is new in each frame differs as much from either; in frames that were averaged over time, it
    differs less from the one before. So does tissue that moves, but not once it is at rest.
    """

    def __init__(self, size: tuple[int, int]):
        self.part, self.squares = inner(size), np.zeros(2)
        self.last: tuple[tuple[int, np.ndarray], ...] = ()  # numbers and frames, at most two

    def add(self, t: int, image: np.ndarray, *, wanted: bool) -> None:
        """Frame t, (H, W) float32; only if it is `wanted`, it is compared with those before."""
        if wanted and [number for number, _ in self.last] == [t - 2, t - 1]:
            now = image[self.part]
            self.squares += [np.square(now - then[self.part]).mean() for _, then in reversed(self.last)]
        self.last = (*self.last[-1:], (t, image))

    @property
    def ratio(self) -> float:
        """Mean square of the first over that of the second; NaN if frames do not differ."""
        first, second = self.squares
        return first / second if second > 0 else np.nan


class PairSums:
    """Sums from which each pixel's correlation with its neighbours in time follows."""

    def __init__(self, size: tuple[int, int]):
        height, width = size
        self.first: np.ndarray | None = None  # taken off, so that float32 holds the sums
        self.count = 0
        self.total, self.squares = (np.zeros(size, np.float32) for _ in range(2))
        self.down = np.zeros((height - 1, width), np.float32)
        self.right = np.zeros((height, width - 1), np.float32)

    def add(self, image: np.ndarray) -> None:
        """Another frame (H, W), finite float32."""
        self.first = image.copy() if self.first is None else self.first
        change = image - self.first
        self.count += 1
        self.total += change
        self.squares += change * change
        self.down += change[1:] * change[:-1]
        self.right += change[:, 1:] * change[:, :-1]

    def image(self) -> np.ndarray | None:
        """Mean correlation of each pixel with those above, below, left and right: (H, W) float32, or None.

        The correlation image of CaImAn and Suite2p with 4 neighbours (Smith and Häusser, Nat. Neurosci. 13,
        2010); NaN where a pixel does not change. None for fewer than 3 frames.
        """
        if self.count < 3:
            return None
        mean = self.total.astype(np.float64) / self.count
        deviation = np.sqrt((self.squares / self.count - mean * mean).clip(0))
        sums, counts = np.zeros(mean.shape), np.zeros(mean.shape)
        down, right = (np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])
        for products, (first, second) in ((self.down, down), (self.right, right)):
            power = deviation[first] * deviation[second]
            known = power > 1e-6 * deviation.mean() ** 2
            covariance = products / self.count - mean[first] * mean[second]
            value = np.divide(covariance, power, out=np.zeros_like(power), where=known).clip(-1, 1)
            for part in (first, second):
                sums[part] += value
                counts[part] += known
        return np.divide(sums, counts, out=np.full(mean.shape, np.nan), where=counts > 0).astype(np.float32)


def _divide(total: np.ndarray, count: int) -> np.ndarray:
    return total / count if count else np.full(total.shape, np.nan, total.dtype)
