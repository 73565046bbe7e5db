"""Fields beside the true ones."""

from dataclasses import replace

import numpy as np

INTERIOR = (..., slice(12, -12), slice(12, -12))


def end_point_error(estimate, truth):
    """Mean over the interior, one constant vector (the position of the reference) removed."""
    difference = (estimate - truth)[INTERIOR]
    difference = difference - np.median(difference, axis=(0, 2, 3), keepdims=True)
    return np.hypot(difference[:, 0], difference[:, 1]).mean()


def turned(fields):
    """The same with all signs wrong."""
    return replace(fields, rigid=-fields.rigid, flow=-fields.flow)
