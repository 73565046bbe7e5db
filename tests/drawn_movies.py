"""Small movies, and whether what is read is what was written."""

from contextlib import closing

import numpy as np

from moco_dl.movie import open_movie

DTYPES = ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


def frames(dtype="uint16", shape=(7, 20, 24)):
    rng = np.random.default_rng(0)
    top = 1000 if np.dtype(dtype).kind == "f" else min(np.iinfo(dtype).max, 2**31)
    return (rng.random(shape) * top).astype(dtype)


def check(path, expected, **options):
    with closing(open_movie(path, **options)) as movie:
        assert movie.shape == expected.shape
        assert movie.dtype == expected.dtype and movie.dtype.isnative
        np.testing.assert_array_equal(movie.read(range(2, 5)), expected[2:5])
        np.testing.assert_array_equal(movie.read([0, 3, 6]), expected[[0, 3, 6]])
