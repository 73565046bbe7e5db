"""Names of outputs: which endings are known, and what becomes of others."""

import h5py
import pytest
import tifffile
from commands import run


def test_name_of_another_kind_of_file(tmp_path, movie_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    for name in ("a.png", "a.AVI", "a.npy"):
        assert "wanted .tif, .tiff, .btf, .h5, .hdf5\n" in run("correct", movie_file, "-o", name, code=2).stderr
        assert f"{name}: ends in" in run("synth", name, "--movie", "--frames", 2, "--size", 32, code=2).stderr
    assert "wanted .h5, .hdf5; for a movie, add --movie" in run("synth", "a.tif", "--pairs", 1, code=2).stderr
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["none", "light_2.5mW", "a.OME.TIF", "b.raw"])
def test_name_without_an_ending_or_with_that_of_the_input(tmp_path, movie_file, name):
    movie = movie_file.rename(tmp_path / "movie.raw")
    run("correct", movie, "-o", tmp_path / name, "--no-fields", "--no-csv", "--rigid-only")
    assert tifffile.imread(tmp_path / name).shape == tifffile.imread(movie).shape


def test_names_with_numbers_after_a_dot(tmp_path, movie_file):
    movies = [tmp_path / name for name in ("power_2.5mW", "power_2.7mW")]
    for movie in movies:
        movie.write_bytes(movie_file.read_bytes())
    run("correct", *movies, "--rigid-only")
    run("correct", movie_file, "-o", tmp_path / "w_2.5mW", "--no-csv", "--rigid-only")
    run("synth", tmp_path / "s_2.5mW", "--movie", "--frames", 2, "--size", 32)
    made = {path.name for path in tmp_path.iterdir()} - {"movie.tif", "power_2.5mW", "power_2.7mW"}
    ends = ("corrected", "fields.h5", "motion.csv")
    expected = {f"power_2.{digit}mW_{end}" for digit in (5, 7) for end in ends}
    assert made == expected | {"w_2.5mW", "w_2.5mW_fields.h5", "s_2.5mW", "s_2.5mW_truth.h5"}


def test_result_of_a_matlab_file_is_plain_hdf5(tmp_path, known_movie):
    with h5py.File(tmp_path / "m.mat", "w", userblock_size=512) as file:
        file["Y"] = known_movie[0][:9]
    result = run("correct", tmp_path / "m.mat", "--rigid-only")
    assert result.stdout.split("\t")[0] == str(tmp_path / "m_corrected.h5")
    with h5py.File(tmp_path / "m_corrected.h5") as file:
        assert file["mov"].shape == known_movie[0][:9].shape
    assert "wanted .tif" in run("correct", tmp_path / "m.mat", "-o", tmp_path / "a.mat", code=2).stderr
