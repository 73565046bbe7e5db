"""Arrays as pictures of 8 bits: small enough to show, stretched, and encoded for a web page."""

import base64

import imagecodecs
import numpy as np

from moco_dl.blocks import block_means

SHOWN = 1.0, 99.7  # percentiles that become black and white
QUALITY = 75  # of JPEG


def shrunk(images: np.ndarray, largest: int) -> np.ndarray:
    """Block means of `images` (..., H, W), so that neither side exceeds `largest` px."""
    factor = shrink_factor(images.shape[-2:], largest)
    return block_means(images, (factor, factor))


def shrink_factor(shape: tuple[int, int], largest: int) -> int:
    """Pixels a side of the blocks that bring `shape` (H, W) to at most `largest`."""
    return -(-max(shape) // largest)


def common_limits(*images: np.ndarray) -> tuple[float, float]:
    """Black and white for all `images` together: percentiles of what is finite; (0, 1) if nothing is."""
    values = np.concatenate([image[np.isfinite(image)] for image in images])
    if not len(values):
        return 0.0, 1.0
    black, white = (float(v) for v in np.percentile(values, SHOWN))
    return (black, white) if white > black else (black, black + 1.0)


def grey(image: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """`image` as uint8, of the same shape: `limits` become 0 and 255, what has no value 0."""
    black, white = limits
    scaled = (np.nan_to_num(image, nan=black, posinf=white, neginf=black) - black) * (255 / (white - black))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def direction_colours(field: np.ndarray, largest: float) -> np.ndarray:
    """Colours (h, w, 3) uint8 of `field` (2, h, w) px, (dy, dx): hue tells direction, strength length.

    White where nothing moves, full colour from `largest` px, grey where there is no value. The circle of hues
    is that of cosines a third of a turn apart, so that brightness hardly depends on direction.
    """
    dy, dx = np.nan_to_num(field)
    strength = (np.hypot(dy, dx) / largest).clip(0, 1)[..., None]
    angle = np.arctan2(dy, dx)[..., None] - np.arange(3) * (2 * np.pi / 3)
    colours = 1 - strength * (0.55 - 0.45 * np.cos(angle))
    colours[~np.isfinite(field).all(axis=0)] = 0.5
    return np.rint(255 * colours).astype(np.uint8)


def contact_sheet(cells: np.ndarray) -> tuple[np.ndarray, int]:
    """Pictures (k, h, w) laid out in rows: the sheet and its number of columns. Cells lie h and w px apart."""
    count, height, width = cells.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    padded = np.concatenate([cells, np.zeros((rows * columns - count, height, width), cells.dtype)])
    sheet = padded.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)  # (rows, h, columns, w)
    return sheet.reshape(rows * height, columns * width), columns


def png(pixels: np.ndarray) -> str:
    """`pixels` (H, W) or (H, W, 3) uint8, without loss, as a `data:` address."""
    room = 2 * (pixels.nbytes + len(pixels)) + 1024  # a byte more a row; left to itself, it takes too little
    return _address("png", imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6, out=room))


def jpeg(pixels: np.ndarray) -> str:
    """`pixels` (H, W) uint8 as a `data:` address, an eighth as large as `png` where they are noisy."""
    return _address("jpeg", imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=QUALITY))


def _address(kind: str, encoded: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
