"""Motion that is left in a movie: of whole frames, along principal components, and as residual optical flow."""

import numpy as np
import torch

from moco_dl.evaluation.metrics import inner, lengths
from moco_dl.rigid import RigidRegistration

COMPONENTS = 10  # principal components that are looked at
EXTREMES = 0.1  # share of the frames at each end of a component that are averaged
FARNEBACK = {"levels": 3, "winsize": 100, "iterations": 15, "poly_n": 5, "poly_sigma": 0.24, "flags": 0}


def shifts(frames: np.ndarray, reference: np.ndarray, max_shift: float) -> np.ndarray:
    """Whole-frame shift of each frame (n, h, w) against `reference` (h, w): (n, 2) float32 px, (dy, dx).

    Backward, as fields are. By the correlation of the correction's own rigid stage (`rigid.py`).
    """
    rigid = RigidRegistration(torch.from_numpy(reference.astype(np.float32)), max_shift)
    return rigid.shifts(torch.from_numpy(frames.astype(np.float32))).numpy()


def brought_onto(frame: np.ndarray, other: np.ndarray, max_shift: float) -> np.ndarray:
    """`frame` (h, w), moved by whole px, up to `max_shift`, to where it lies on another (h, w)."""
    dy, dx = shifts(frame[None], other, max_shift)[0].round().astype(int)
    return np.roll(frame, (-dy, -dx), (0, 1))


def component_shifts(frames: np.ndarray, max_shift: float) -> np.ndarray:
    """Shift between the extremes of each principal component: frames (n, h, w) finite -> (k,) float32 px.

    Motion that is left is a main source of variance, and then the frames at both ends of a component show the
    scene in two places. Suite2p's measure (Pachitariu et al., bioRxiv 061507, 2017), with its 30 components of
    thousands of frames reduced to at most 10, so that short movies can be judged. Empty below 4 frames.
    """
    count = len(frames)
    if count < 4:
        return np.zeros(0, np.float32)
    flat = frames.reshape(count, -1).astype(np.float32)
    flat = flat - flat.mean(axis=0)
    _, scores = np.linalg.eigh((flat @ flat.T).astype(np.float64))  # ascending
    ends = max(1, round(EXTREMES * count))
    found = []
    for component in scores.T[::-1][: min(COMPONENTS, count // 2)]:
        order = np.argsort(component, kind="stable")
        low, high = (frames[part].mean(axis=0) for part in (order[:ends], order[-ends:]))
        found.append(np.hypot(*shifts(high[None], low, max_shift)[0]))
    return np.array(found, np.float32)


def flow_possible() -> bool:
    """Whether OpenCV, which measures residual flow, is installed and can be loaded: it may lack a library."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        return False
    return True


def residual_flow(frame: np.ndarray, reference: np.ndarray) -> float:
    """Mean length of the dense flow from `reference` to `frame`, both (H, W) finite: px.

    Farneback's method as CaImAn's quality measure uses it, on frames averaged over time (Giovannucci et al.,
    eLife 8, 2019): windows of 100 px, 3 levels, 15 iterations. The border is left out. Needs OpenCV (extra
    `report`).
    """
    import cv2

    pair = (_grey(reference), _grey(frame))
    flow = cv2.calcOpticalFlowFarneback(*pair, None, pyr_scale=0.5, **FARNEBACK)  # (H, W, 2), (dx, dy)
    return float(lengths(flow.transpose(2, 0, 1))[inner(reference.shape)].mean())


def _grey(image: np.ndarray) -> np.ndarray:
    """From 0 to 255 between the 0.5th and 99.5th percentile: tools give movies gains of their own."""
    low, high = np.percentile(image, (0.5, 99.5))
    return np.clip((image - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.float32)
