"""Files that a movie or a truth is read from, without being named, are inputs, too: nothing replaces them."""

import h5py
import numpy as np
import tifffile
from commands import run
from drawn_movies import frames

from moco_dl import job
from moco_dl.fields import load_fields


def test_files_that_a_dataset_has_its_frames_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    movie = frames()
    movie.tofile("bytes.tif")
    with h5py.File("m.h5", "w") as file:
        file.create_dataset("mov", movie.shape, movie.dtype, external=[("bytes.tif", 0, movie.nbytes)])
    for number in (0, 1):
        with h5py.File(f"part_{number}.h5", "w") as file:
            file["mov"] = movie
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    shape, more = (2 * len(movie), *movie.shape[1:]), (h5py.h5s.UNLIMITED, *movie.shape[1:])
    space = h5py.h5s.create_simple(shape, more)
    space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (len(movie), 1, 1), movie.shape)
    plan.set_virtual(space, b"part_%b.h5", b"mov", h5py.h5s.create_simple(movie.shape))
    with h5py.File("v.h5", "w", libver="latest") as file:
        kind = h5py.h5t.py_create(movie.dtype)
        h5py.h5d.create(file.id, b"mov", kind, h5py.h5s.create_simple(shape, more), plan)
    for name, part in (("m.h5", "bytes.tif"), ("v.h5", "part_1.h5")):
        before = (tmp_path / part).read_bytes()
        ended = run("correct", name, "-o", part, "--overwrite", "--rigid-only", code=1)
        assert f"{part}: is an input; choose another output" in ended.stderr
        assert (tmp_path / part).read_bytes() == before


def test_files_of_a_truth(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("synth", "m.tif", "--movie", "--size", 64, "--frames", 4)
    run("correct", "m.tif", "--rigid-only")
    (tmp_path / "truth").mkdir()
    np.save("truth/gt_field.npy", load_fields("m_truth.h5")[:])
    (tmp_path / "truth" / "meta.json").write_text("{}")
    what = ("evaluate", "m.tif", "m_corrected.tif", "--fields", "m_fields.h5", "--overwrite", "--truth")
    for truth, output in (
        ("truth", "truth/gt_field.npy"),
        ("truth", "truth/meta.json"),
        ("truth/gt_field.npy", "truth/meta.json"),
        (".", "m_truth.h5"),
    ):
        before = (tmp_path / output).read_bytes()
        assert f"{output}: is an input" in run(*what, truth, "--json", output, code=2).stderr
        assert (tmp_path / output).read_bytes() == before
    run(*what, "m_truth.h5", "--json", "truth/meta.json")


def test_movies_that_change_while_they_are_read(tmp_path, known_movie, monkeypatch):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, known_movie[0], photometric="minisblack")
    run("correct", path, "--rigid-only", "--outdir", tmp_path.parent)
    drain, prints = job._drain, ["before", "after"]

    def replaced():
        memory = tifffile.memmap(path)
        memory[...] = memory[::-1].copy()
        memory.flush()

    monkeypatch.setattr(job, "_drain", lambda *a: (drain(*a), replaced())[0])
    told = "m.tif: has changed while it was read; wait until it is complete"
    assert told in run("correct", path, "--rigid-only", code=1).stderr
    fields = tmp_path.parent / "m_fields.h5"
    monkeypatch.setattr(job, "fingerprint", lambda movie: prints.pop())
    assert told in run("apply", path, fields, code=1).stderr
    assert list(tmp_path.iterdir()) == [path]


def test_float64_beyond_float32(tmp_path, known_movie, recwarn):
    movie = known_movie[0].astype(np.float64)
    movie[3, 5, 5] = 1e300
    tifffile.imwrite(tmp_path / "m.tif", movie, photometric="minisblack")
    run("correct", tmp_path / "m.tif")
    assert not [each for each in recwarn if issubclass(each.category, RuntimeWarning)]
