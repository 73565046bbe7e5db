"""A field of displacements as arrows: paths of SVG in pixels of the image."""

from dataclasses import dataclass

import numpy as np

MOST = 18  # arrows along the longer side of a picture
HEAD = 0.35  # length of the two strokes of an arrow's head, of that of the arrow


@dataclass(frozen=True)
class Lattice:
    """Where arrows stand: every so many samples of the field's grid."""

    stride: int  # samples
    spacing: float  # px between arrows
    step: float  # px between samples


def lattice(shape: tuple[int, int], step: float) -> Lattice:
    """At most MOST arrows along the longer side of a grid of `shape` (h, w), samples `step` px apart."""
    stride = max(1, -(-max(shape) // MOST))
    return Lattice(stride, stride * step, step)


def magnification(largest: float, spacing: float) -> float:
    """How much longer than the motion to draw arrows: a round number; the longest spans about their spacing."""
    wanted = 1.15 * spacing / max(largest, 0.02)
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(max(m * power for m in (1, 1.5, 2, 3, 5, 7) if m * power <= wanted))


def arrow_path(field: np.ndarray, place: Lattice, times: float) -> str:
    """Arrows of `field` (2, h, w) px, (dy, dx), drawn `times` as long; none where there is no value.

    An arrow begins at the pixel it belongs to; pixel (0, 0) covers the square from 0 to 1 of the picture.
    """
    first, stride = place.stride // 2, place.stride
    dy, dx = times * field[:, first::stride, first::stride]
    rows, columns = (np.arange(n) * stride + first + 0.5 for n in dy.shape)
    y, x = np.meshgrid(rows * place.step, columns * place.step, indexing="ij")
    shown = np.isfinite(dy) & np.isfinite(dx) & (np.hypot(dy, dx) > 0.04 * place.spacing)
    return "".join(_arrow(*four) for four in np.stack([x, y, dx, dy], axis=-1)[shown].tolist())


def _arrow(x: float, y: float, dx: float, dy: float) -> str:
    """Shaft, then the head: one side, tip, other side, turned 25 degrees from the way back."""
    across, along = 0.423 * HEAD, 0.906 * HEAD
    left = (-along * dx - across * dy, -along * dy + across * dx)
    right = (-along * dx + across * dy, -along * dy - across * dx)
    head = f"m{left[0]:.1f},{left[1]:.1f}l{-left[0]:.1f},{-left[1]:.1f}l{right[0]:.1f},{right[1]:.1f}"
    return f"M{x:.1f},{y:.1f}l{dx:.1f},{dy:.1f}{head}"
