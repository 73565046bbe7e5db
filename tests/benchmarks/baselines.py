"""Methods that nobody ships as a tool: what a short script around a well-known library reaches.

Frames are first shifted onto their mean as a whole; the flow methods then look for what is left.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from exchange import frames_of, save_corrected, save_weights, shape_of

Register = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (template, frame) -> backward shift (dy, dx)
Pull = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (frame, backward shift) -> frame shifted back


def aligned(movie: Path, register: Register, pull: Pull, *, passes: int) -> tuple[np.ndarray, np.ndarray]:
    """Shift frames onto their mean, `passes` times: the shifts (T, 2), px, and the last mean (H, W)."""
    count = shape_of(movie)[0]
    template = sum(_floats(movie)) / count
    for _ in range(passes):
        shifts = np.array([register(template, frame) for frame in _floats(movie)])
        template = sum(map(pull, _floats(movie), shifts)) / count
    return shifts, template


def _floats(movie: Path) -> Iterator[np.ndarray]:
    return (frame.astype(np.float32) for frame in frames_of(movie))


def _counts(frame: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(frame), 0, 65535).astype(np.uint16)


def skimage(movie: Path) -> None:
    """Whole-frame shifts by cross-correlation, in tenths of a pixel."""
    from scipy.ndimage import shift
    from skimage.registration import phase_cross_correlation

    def register(template: np.ndarray, frame: np.ndarray) -> np.ndarray:
        # Without normalization: phases alone are lost in photon noise.
        return -phase_cross_correlation(template, frame, upsample_factor=10, normalization=None)[0]

    def pull(frame: np.ndarray, by: np.ndarray) -> np.ndarray:
        return shift(frame, -by, order=1, mode="nearest")

    shifts, _ = aligned(movie, register, pull, passes=2)
    corrected = (_counts(pull(frame, by)) for frame, by in zip(_floats(movie), shifts, strict=True))
    fields = shifts[:, :, None, None]
    save_corrected(zip(corrected, fields, strict=True), (len(fields), 1, 1))
    save_weights(*(np.ones((size, 1)) for size in shape_of(movie)[1:]))


class Images:
    """OpenCV's operations on frames of one shape; displacements are (dy, dx), here as elsewhere."""

    def __init__(self, height: int, width: int, *, method: str, blur: float):
        import cv2

        self._cv2, self._method, self._blur = cv2, method, blur
        self._grid = np.mgrid[:height, :width].astype(np.float32)
        self._window = cv2.createHanningWindow((width, height), cv2.CV_32F)
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def _smooth(self, image: np.ndarray, sigma: float) -> np.ndarray:
        return self._cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image

    def register(self, template: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Backward shift of the whole frame."""
        images = (self._smooth(image, 2.0) for image in (template, frame))
        return np.array(self._cv2.phaseCorrelate(*images, self._window)[0][::-1])

    def warp(self, frame: np.ndarray, field: np.ndarray) -> np.ndarray:
        """Pull `frame` (H, W) back through `field`, (2, H, W) or (2,)."""
        y, x = self._grid + field.astype(np.float32).reshape(2, *(field.shape[1:] or (1, 1)))
        return self._cv2.remap(frame, x, y, self._cv2.INTER_CUBIC, borderMode=self._cv2.BORDER_REPLICATE)

    def eight_bit(self, image: np.ndarray) -> np.ndarray:
        image = self._smooth(image, self._blur)
        low, high = np.percentile(image, (1, 99.7))
        return np.clip((image - low) * (255 / (high - low)), 0, 255).astype(np.uint8)

    def flow(self, template: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Backward field (2, H, W) between 8-bit images."""
        if self._method == "dis":
            found = self._dis.calc(template, frame, None)
        else:
            found = self._cv2.calcOpticalFlowFarneback(template, frame, None, 0.5, 3, 63, 5, 7, 1.5, 0)
        return found[..., ::-1].transpose(2, 0, 1)  # (H, W, 2) dx, dy -> (2, H, W) dy, dx


def opencv(movie: Path, *, method: str, blur: float) -> None:
    """Shifts by phase correlation, then flow, "dis" or "farneback", on 8-bit images blurred by `blur` px."""
    shape = shape_of(movie)
    images = Images(*shape[1:], method=method, blur=blur)
    shifts, template = aligned(movie, images.register, images.warp, passes=3)
    target = images.eight_bit(template.astype(np.float32))

    def corrected() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for frame, shift in zip(_floats(movie), shifts, strict=True):
            rest = images.flow(target, images.eight_bit(images.warp(frame, shift)))
            field = rest + shift[:, None, None].astype(np.float32)
            yield _counts(images.warp(frame, field)), field

    save_corrected(corrected(), shape)
