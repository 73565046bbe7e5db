"""Whether a field folds the image over itself, which tissue cannot do."""

import numpy as np


def jacobian(field: np.ndarray, step: float) -> np.ndarray:
    """Determinant of the Jacobian of `x -> x + field(x)`: (..., 2, h, w) px, samples `step` px apart ->
    (..., 4, h - 1, w - 1), at the corners of the cells between samples, in which the field is bilinear.

    1: areas are kept; 0 or less: the field folds the image over itself. The usual check
    of deformable registration (for instance in learn2reg and VoxelMorph).
    """
    alone = [(0, 0)] * (field.ndim - 2) + [(0, int(count == 1)) for count in field.shape[-2:]]
    field = np.pad(field, alone, mode="edge")
    along_y, along_x = np.diff(field, axis=-2) / step, np.diff(field, axis=-1) / step
    found = []
    for upper in (slice(None, -1), slice(1, None)):
        for left in (slice(None, -1), slice(1, None)):
            (yy, xy), (yx, xx) = (
                np.moveaxis(slopes, -3, 0) for slopes in (along_y[..., left], along_x[..., upper, :])
            )
            found.append((1 + yy) * (1 + xx) - yx * xy)
    return np.stack(found, axis=-3)
