"""Workers that compute several frames at a time."""

import time

import numpy as np
import pytest

import moco_dl
from moco_dl.parallel import Workers, available_processors


def test_results_come_in_order_and_little_is_taken_ahead():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    def slow_first(i):
        time.sleep(0.05 if i == 0 else 0)
        return 2 * i

    results = Workers(3).map(slow_first, items())
    assert next(results) == 0 and len(taken) <= 5
    assert list(results) == list(range(2, 40, 2))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_is_computed_while_another_is_handled(threads):
    taken = []
    results = Workers(threads).map(lambda item: item, (taken.append(i) or i for i in range(9)))
    assert next(results) == 0
    assert len(taken) == max(threads, 2)


def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(Workers(2).map(lambda i: 1 / i, [1, 0, 2]))


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_processors_are_used_unless_told_but_not_too_many(monkeypatch, processors, threads):
    assert available_processors() >= 1
    monkeypatch.setattr("moco_dl.parallel.available_processors", lambda: processors)
    assert Workers().threads == threads
    assert Workers(5).threads == 5


def test_threads_do_not_change_a_bit(known_movie):
    frames = known_movie[0][:20]
    one, three = (moco_dl.correct(frames, threads=n, ref_frames=8) for n in (1, 3))
    np.testing.assert_array_equal(one.corrected, three.corrected)
    np.testing.assert_array_equal(one.fields.flow[:], three.fields.flow[:])
