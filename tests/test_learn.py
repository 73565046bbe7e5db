"""`nrcorrect synth` and `nrcorrect train`, end to end."""

import errno
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from commands import digest, run
from threadpoolctl import threadpool_limits

import moco_dl


@pytest.mark.usefixtures("validated_on_few")
def test_synth_and_train_end_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        run("synth", f"{name}.tif", "--movie", "--frames", 4, "--size", 64, "--seed", 7)
    assert digest(tmp_path / "a.tif") == digest(tmp_path / "b.tif")
    assert tifffile.imread("a.tif").shape == (4, 64, 64)
    truth = moco_dl.load_fields("a_truth.h5")
    assert truth[:].shape == (4, 2, 64, 64) and truth.stride == 1
    run("apply", "a.tif", "a_truth.h5")
    run("synth", "pairs.h5", "--pairs", 3, "--size", 64)
    for extra in ([], ["--resume"]):
        result = run("train", "run", "--data", "pairs.h5", "--steps", 2, "--batch", 2, "--workers", 0, *extra)
    assert result.stdout == "run/weights.pt\n"
    run("correct", "a.tif", "--weights", "run/weights.pt", "--overwrite")
    np.save("image.npy", np.random.default_rng(0).random((80, 90)))
    run("synth", "own.h5", "--pairs", 2, "--size", 64, "--images", "image.npy", "--images", "a.tif")
    with h5py.File("own.h5") as file:
        assert [image["name"] for image in json.loads(file.attrs["images"])] == ["image.npy", "a.tif"]
    Path("other").mkdir()
    np.save("other/image.npy", np.random.default_rng(1).random((80, 90)))
    run("synth", "two.h5", "--pairs", 2, "--size", 64, "--images", "image.npy", "--images", "other/image.npy")
    with h5py.File("two.h5") as file:
        names = [image["name"] for image in json.loads(file.attrs["images"])]
        assert names == ["image.npy", "other/image.npy"]
    np.save("flat.npy", np.ones((80, 90)))
    np.save(
        "white.npy", np.where(np.arange(7200).reshape(80, 90) < 20, 0, 4095)
    )  # saturated but for a few pixels
    reasons = {"flat.npy": "show nothing", "white.npy": "show nothing", "none.npy": "No such file"}
    for image, reason in reasons.items():
        assert reason in run("synth", "d.h5", "--images", image, code=1).stderr
    assert "--pairs is for datasets" in run("synth", "c", "--movie", "--pairs", 3, code=2).stderr
    assert "--preview is for datasets" in run("synth", "c", "--movie", "--preview", "p.png", code=2).stderr
    assert "--frames is for movies" in run("synth", "c", "--frames", 3, code=2).stderr
    assert "--calm is for movies" in run("synth", "c", "--calm", 0.1, code=2).stderr
    for option in ("running", "bleach", "flicker", "pattern"):
        assert f"--{option} is for movies" in run("synth", "c", f"--{option}", 0.5, code=2).stderr
    assert "is not in the range" in run("synth", "c", "--movie", "--bleach", 1, code=2).stderr
    for option, value in (("photons", 1e20), ("amplitude", 1e300), ("vectors", 10**11), ("seed", 10**30)):
        assert "is not in the range" in run("synth", "c", f"--{option}", value, code=2).stderr
    assert "exists; choose another output" in run("synth", "a.tif", "--movie", code=1).stderr


def test_files_tell_which_version_made_them_and_how(tmp_path):
    made, light = [], {"bleach": 0.2, "flicker": 0.1, "pattern": 0.3}
    for name in ("a", "b"):
        movie, truth, pairs = (tmp_path / f"{name}{end}" for end in (".tif", "_truth.h5", ".h5"))
        more = [word for option, value in light.items() for word in (f"--{option}", value)]
        run("synth", movie, "--movie", "--frames", 2, "--size", 32, "--seed", 7, *more)
        run("synth", pairs, "--pairs", 2, "--size", 32, "--seed", 7)
        made.append([digest(path) for path in (movie, truth, pairs)])
    assert made[0] == made[1]
    about = moco_dl.load_fields(truth).metadata
    with h5py.File(pairs) as file:
        of_pairs = {name: file.attrs[name] for name in ("version", "seed", "options")}
    assert about["version"] == of_pairs["version"] == moco_dl.__version__
    assert about["seed"] == of_pairs["seed"] == 7
    assert about["options"].items() >= light.items() and json.loads(of_pairs["options"])["size"] == 32


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_threads(tmp_path):
    found = set()
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            run("synth", tmp_path / "a.tif", "--movie", "--frames", 2, "--seed", 5, "--overwrite")
        found.add(digest(tmp_path / "a_truth.h5"))
    assert len(found) == 1


def test_options_of_synthetic_data_that_do_not_fit(tmp_path):
    out = tmp_path / "p.h5"
    assert (
        "--dataset, --channel and --plane are for --images" in run("synth", out, "--channel", 2, code=2).stderr
    )
    assert "ends in '.doc'" in run("synth", out, "--preview", tmp_path / "p.doc", code=2).stderr
    assert "motion of up to" in run("synth", out, "--size", 64, "--amplitude", 90, code=2).stderr
    too_many = run("synth", out, "--pairs", 10**9, "--size", 10**5, code=1).stderr
    assert "p.h5: cannot write: File too large" in too_many
    assert "is not in the range" in run("synth", out, "--spread", 0.5, 9, code=2).stderr
    assert not list(tmp_path.iterdir())
    out.write_bytes(b"precious")
    assert "exists; choose another output" in run("synth", out, "--images", "none.tif", code=1).stderr


def test_a_preview_that_cannot_be_drawn_leaves_no_dataset(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("moco_dl.figures.preview", full)
    wanted = ("synth", tmp_path / "p.h5", "--pairs", 2, "--size", 48, "--preview", tmp_path / "p.png")
    assert "No space left" in run(*wanted, code=1).stderr and not list(tmp_path.iterdir())


def test_train_options_that_exclude_one_another():
    told = "leave it out with"
    assert (
        f"--init is for a run that begins; {told} --resume"
        in run("train", "run", "--resume", "--init", "w.pt", code=2).stderr
    )
    assert (
        f"--curriculum is for pairs drawn on the fly; {told} --data"
        in run("train", "run", "--data", "p.h5", "--curriculum", 5, code=2).stderr
    )
    assert (
        "loss: got epe:nan; wanted a finite weight above 0"
        in run("train", "run", "--loss", "epe:nan", code=2).stderr
    )
