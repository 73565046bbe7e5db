import multiprocessing
import os
import resource
from contextlib import closing

import h5py
import numpy as np
import pytest
import tifffile

from moco_dl.errors import NrcorrectError
from moco_dl.output import create_movie
from moco_dl.staging import staged


def read(path):
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["mov"][:]
    return tifffile.imread(path)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 11])
@pytest.mark.parametrize("name", ["m.tif", "m.h5"])
def test_written_in_pieces_read_as_a_whole(tmp_path, name, count):
    frames = np.random.default_rng(0).integers(0, 65535, (count, 20, 17), np.uint16)
    kind = "hdf5" if name.endswith("h5") else "tiff"
    with (
        staged([tmp_path / name]) as parts,
        closing(create_movie(parts[0], kind, frames.shape, frames.dtype)) as out,
    ):
        for start in range(0, count, 3):
            out.write(start, mov=frames[start : start + 3])
        assert not (tmp_path / name).exists()
    np.testing.assert_array_equal(read(tmp_path / name).reshape(frames.shape), frames)
    if kind == "tiff":
        assert tifffile.imread(tmp_path / name, squeeze=False).shape == frames.shape
        with tifffile.TiffFile(tmp_path / name) as tiff:
            assert len(tiff.pages) == count
            assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.MINISBLACK


@pytest.mark.parametrize(("start", "shape"), [(2, (2, 20, 17)), (0, (1, 20, 16))])
def test_what_does_not_fit_is_not_written_over_what_is_beside_it(tmp_path, start, shape):
    with closing(create_movie(tmp_path / "m.tif", "tiff", (3, 20, 17), np.dtype("u2"))) as out:
        with pytest.raises(ValueError, match=r"does not fit into \(3, 20, 17\)"):
            out.write(start, mov=np.ones(shape, np.uint16))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space cannot be taken at once")
@pytest.mark.parametrize("kind", ["tiff", "hdf5"])
def test_space_is_taken_before_the_work(tmp_path, kind):
    create_movie(tmp_path / "m", kind, (40, 64, 64), np.dtype("u2")).close()
    assert (tmp_path / "m").stat().st_blocks * 512 >= 40 * 64 * 64 * 2


def test_files_do_not_hold_the_time_they_were_written_at(tmp_path):
    create_movie(tmp_path / "a.h5", "hdf5", (1, 16, 16), np.uint16).close()
    with h5py.File(tmp_path / "a.h5") as file:
        assert h5py.h5g.get_objinfo(file["mov"].id).mtime == 0


def _write_beyond_limit(path, kind, queue):
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        with (
            staged([path]) as parts,
            closing(create_movie(parts[0], kind, (40, 64, 64), np.dtype("u2"))) as out,
        ):
            for start in range(40):
                out.write(start, mov=np.ones((1, 64, 64), np.uint16))
    except NrcorrectError as error:
        queue.put(str(error))


@pytest.mark.parametrize("kind", ["tiff", "hdf5"])
def test_no_space(tmp_path, kind):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_write_beyond_limit, args=(tmp_path / "out", kind, queue))
    process.start()
    assert "cannot write: " in queue.get(timeout=300)
    process.join()
    assert list(tmp_path.iterdir()) == []
