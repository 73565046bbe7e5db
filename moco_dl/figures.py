"""Pictures; they need matplotlib, which comes with the extra `figures`."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moco_dl.errors import NrcorrectError

FORMATS = (".png", ".pdf", ".svg")

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def available() -> bool:
    """Whether pictures can be drawn: matplotlib is there, and whole."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its fonts is its own affair
    try:
        import_module("matplotlib.figure")
    except Exception:  # one that is damaged raises whatever it does
        return False
    return True


def require() -> None:
    """Raise NrcorrectError if pictures cannot be drawn."""
    if not available():
        raise NrcorrectError("a picture needs matplotlib; add it with pip install matplotlib")


@contextmanager
def plain_style() -> Iterator[None]:
    """Matplotlib's own style while a picture is drawn and saved, whatever a user's matplotlibrc says.

    Raises NrcorrectError if matplotlib is missing.
    """
    require()
    from matplotlib import style

    with style.context("default"):
        yield


def loss_curve(log: Sequence[dict[str, float]], picture: Path) -> None:
    """Draw a training log as `train` keeps it: loss, and end-point error per photon level, by step; a PNG."""
    with plain_style():
        _loss_curve(log).savefig(picture, format="png", dpi=120)


def _loss_curve(log: Sequence[dict[str, float]]) -> "Figure":
    figure = _figure(7, 3)
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in log]
    left.plot(steps, [row["loss"] for row in log], color="black")
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    for name in (name for name in log[0] if name.startswith("epe_")):
        right.plot(steps, [row[name] for row in log], label=f"{name.removeprefix('epe_')} photons")
    right.set(xlabel="step", ylabel="end-point error, px", ylim=(0, None))
    right.legend(frameon=False)
    return figure


def preview(reference: np.ndarray, frame: np.ndarray, flow: np.ndarray, picture: Path, kind: str) -> None:
    """Draw pairs: reference red over frame green (yellow where they agree), below it the fields as arrows.

    `reference` and `frame` (n, H, W), NaN where there is no data; `flow` (n, 2, H, W) px, (dy, dx); `kind` of
    picture: png, pdf or svg.
    """
    with plain_style():
        _preview(reference, frame, flow).savefig(picture, format=kind, dpi=120)


def _preview(reference: np.ndarray, frame: np.ndarray, flow: np.ndarray) -> "Figure":
    count = len(reference)
    figure = _figure(2 * count, 4)
    step = max(1, reference.shape[-1] // 10)
    for i, (above, below) in enumerate(figure.subplots(2, count, squeeze=False).T):
        overlay = np.stack([_stretched(reference[i]), _stretched(frame[i]), np.zeros_like(frame[i])], axis=-1)
        above.imshow(overlay)
        dy, dx = flow[i, :, step // 2 :: step, step // 2 :: step]
        below.imshow(_stretched(reference[i]), cmap="gray")
        y, x = np.mgrid[step // 2 : flow.shape[2] : step, step // 2 : flow.shape[3] : step]
        below.quiver(x, y, dx, dy, angles="xy", scale_units="xy", scale=1, color="orange")
        for axes in (above, below):
            axes.set_axis_off()
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _stretched(image: np.ndarray) -> np.ndarray:
    """Between 0 and 1 from the 1st to the 99.5th percentile; 0 where there is no data."""
    low, high = np.nanpercentile(image, (1, 99.5))
    return np.nan_to_num((image - low) / max(high - low, 1e-12)).clip(0, 1)
