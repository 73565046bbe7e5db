import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from drawn import textured_refiner
from evaluations import evaluation_of

import moco_dl
from moco_dl.correction import Correction
from moco_dl.evaluation import Evaluation
from moco_dl.fields import Fields
from moco_dl.learning.motion import MotionOptions
from moco_dl.learning.synth import MovieOptions, SyntheticMovie
from moco_dl.refinement.refine import Refiner
from moco_dl.warp import warp

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
HAS_GPU, VISIBLE = torch.cuda.is_available(), os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.fixture(scope="session", autouse=True)
def hidden_gpu():
    """Results are compared byte by byte, which a CPU's are: no test sees a GPU but those that take `gpu`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # for processes that a test starts
        yield


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if not HAS_GPU:
        pytest.skip("no GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if VISIBLE is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", VISIBLE)


@pytest.fixture(scope="session")
def known_movie() -> tuple[np.ndarray, np.ndarray]:
    """A synthetic movie (40, 96, 112) uint16 and its true field (40, 2, 96, 112)."""
    motion = MotionOptions(spread=(20.0, 40.0), amplitude=3.0, rigid=4.0, rows=0.0)
    options = MovieOptions(shape=(40, 96, 112), photons=10.0, motion=motion)
    frames, fields = zip(*SyntheticMovie(5, options), strict=True)
    return np.stack(frames), np.stack(fields)


@pytest.fixture(scope="session")
def evaluation(known_movie: tuple[np.ndarray, np.ndarray]) -> Evaluation:
    """Of `known_movie`, corrected by its true field."""
    frames, fields = known_movie
    moving = torch.from_numpy(frames.astype(np.float32))[:, None]
    corrected = warp(moving, torch.from_numpy(fields))[:, 0].numpy()
    return evaluation_of(frames, corrected, fields)


@pytest.fixture(scope="session")
def result(known_movie: tuple[np.ndarray, np.ndarray]) -> Correction:
    """Of `known_movie`, corrected."""
    return moco_dl.correct(known_movie[0], device="cpu")


@pytest.fixture
def movie_file(tmp_path: Path, known_movie: tuple[np.ndarray, np.ndarray]) -> Path:
    """The first 9 frames of `known_movie` as a TIFF."""
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, known_movie[0][:9], photometric="minisblack")
    return path


@pytest.fixture
def real_data() -> Path:
    if not REAL.is_dir():
        pytest.skip("no folder of real movies")
    return REAL


@pytest.fixture(scope="session")
def movie(known_movie):
    """Raw frames, and their true fields."""
    frames, truth = known_movie
    rigid = truth.mean(axis=(2, 3))
    return frames, Fields(
        rigid=rigid,
        flow=truth - rigid[:, :, None, None],
        flagged=np.zeros(len(truth), bool),
        misfit=np.ones(len(truth), np.float32),
        expected_error=np.full(truth.shape[2:], np.nan, np.float32),
        stride=1,
        reference=moco_dl.apply(frames, _fields(truth)).mean(axis=0, dtype=np.float32),
        left_out=np.zeros(truth.shape[2:], bool),
        metadata={"options": {}},
    )


def _fields(truth):
    empty = np.zeros(len(truth))
    shape = truth.shape[2:]
    blank, about = np.zeros(shape, np.float32), {"options": {}}
    return Fields(
        np.zeros((len(truth), 2), np.float32), truth, empty > 0, empty, blank, 1, blank, blank > 0, about
    )


@pytest.fixture(scope="session")
def refiner() -> Refiner:
    """What compares frames with a textured scene."""
    return textured_refiner()


@pytest.fixture
def validated_on_few(monkeypatch):
    """Pairs to validate on take long to draw."""
    monkeypatch.setattr("moco_dl.learning.train.VALIDATION_BATCHES", 1)
