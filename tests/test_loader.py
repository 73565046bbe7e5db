"""Batches that workers draw."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from moco_dl.errors import NrcorrectError
from moco_dl.learning.dataset import Batches, PairFile, StoredBatches, write_pairs
from moco_dl.learning.loader import load_batches
from moco_dl.learning.pairs import PairOptions, ScenePool
from moco_dl.learning.train import TrainOptions

SMALL = TrainOptions(steps=4, batch=2, pairs=PairOptions(size=64), curriculum=0, warmup=1)
CPU = torch.device("cpu")


def ignore(done, total):
    pass


class TooLarge(Batches):
    def __getitem__(self, step):
        return np.empty(2**50)


class Broken(Batches):
    def __getitem__(self, step):
        raise RuntimeError("broken")


def test_an_error_does_not_look_like_the_end_of_all_batches():
    with pytest.raises(RuntimeError, match="broken"):
        next(load_batches(Broken(SMALL), 0, 0))


def test_frames_become_as_dim_as_the_data_says(monkeypatch):
    drawn = []
    monkeypatch.setattr("moco_dl.learning.dataset.draw_pairs", lambda *_, brighter: drawn.append(brighter))
    batches = Batches(replace(SMALL, steps=20, curriculum=10))
    for step in (0, 5, 10, 19):
        batches[step]
    assert drawn == pytest.approx([10**1.5, 10**0.75, 1, 1])


def test_more_workers_than_processors_may_be_wanted():
    assert len(next(load_batches(Batches(SMALL), 0, 9)).frame) == 2


def test_workers_that_have_no_room_are_told(monkeypatch):
    def no_room(self):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("moco_dl.learning.loader.DataLoader.__iter__", no_room)
    with pytest.raises(NrcorrectError, match=r"Read-only file system; they need room .* --workers 0"):
        next(load_batches(Batches(SMALL), 0, 1))


def test_a_worker_that_is_out_of_memory_is_told():
    with pytest.raises(MemoryError):
        next(load_batches(TooLarge(SMALL), 0, 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_pairs_that_are_gone_while_they_are_read_are_told_in_one_line(tmp_path, workers):
    options = PairOptions(size=32)
    write_pairs([tmp_path / "p.h5"], 2, options, ScenePool(0, options.scene_size), progress=ignore)
    batches = StoredBatches(PairFile(tmp_path / "p.h5"), SMALL)
    (tmp_path / "p.h5").unlink()
    with pytest.raises(NrcorrectError, match=r"\A.*p\.h5: cannot read: No such file.*\Z"):
        next(load_batches(batches, 0, workers))
