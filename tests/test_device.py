"""The path of an accelerator, on the CPU: half precision, and memory that runs out."""

import numpy as np
import pytest
import torch

import moco_dl
from moco_dl import checkpoint
from moco_dl.blocks import binned
from moco_dl.correction import Corrector
from moco_dl.device import (
    CPU,
    choose_device,
    frames_that_fit,
    full_device,
    halved,
    on_cuda,
    own_stream,
    received,
    sent,
)
from moco_dl.errors import NrcorrectError
from moco_dl.infer import Estimator, averaged, sent_binned
from moco_dl.intensity import counts
from moco_dl.parallel import Workers


@pytest.fixture(scope="module")
def network():
    return checkpoint.load(checkpoint.default_weights()).network


@pytest.fixture()
def estimator(network, known_movie):
    return Estimator(known_movie[0].mean(axis=0, dtype=np.float32), network, max_shift=10.0, device=CPU)


def out_of_memory_above(estimator, most, monkeypatch):
    """Have the network fail as a full GPU does, given more than `most` frames; returns the numbers given."""
    given, encode = [], estimator.network.encode

    def failing(images):
        given.append(len(images))
        if len(images) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return encode(images)

    monkeypatch.setattr(estimator.network, "encode", failing)
    return given


def test_groups_are_halved_until_memory_suffices(estimator, known_movie, monkeypatch):
    frames = known_movie[0][:6]
    expected = estimator(frames).total()
    given = out_of_memory_above(estimator, 1, monkeypatch)
    np.testing.assert_allclose(estimator(frames).total(), expected, atol=0.02)
    assert given == [16, 8, 4, 2, 1, 1, 1, 1, 1, 1]
    estimator(frames[:2])
    assert given[10:] == [1, 1]  # it does not try again what failed


@pytest.mark.parametrize(
    "full", [torch.cuda.OutOfMemoryError("CUDA out of memory."), RuntimeError("MPS backend out of memory")]
)
def test_frames_are_sent_by_halves_until_memory_suffices(estimator, known_movie, monkeypatch, full):
    frames, judged, given = known_movie[0][:6], np.arange(6) != 1, []
    expected, correlations = estimator(frames, judged), estimator.correlation_maps(frames)

    def failing(some, *arguments):
        given.append(len(some))
        if len(some) > 2:
            raise full
        return sent_binned(some, *arguments)

    monkeypatch.setattr("moco_dl.infer.sent_binned", failing)
    found = estimator(frames, judged)
    np.testing.assert_array_equal(found.total(), expected.total())
    assert given == [5, 3, 2, 1, 2]
    np.testing.assert_array_equal(estimator.correlation_maps(frames), correlations)


def test_too_little_memory_for_one_frame_is_told(estimator, known_movie, monkeypatch):
    out_of_memory_above(estimator, 0, monkeypatch)
    with pytest.raises(
        NrcorrectError, match=r"no memory left on cpu, not even for one frame; .* choose --device cpu"
    ):
        estimator(known_movie[0][:2])


def test_half_precision_of_the_network_hardly_shows(known_movie):
    expected, found = (
        moco_dl.correct(known_movie[0], device="cpu", **options) for options in ({}, {"precision": "bfloat16"})
    )
    assert 0 < np.abs(found.fields[:] - expected.fields[:]).mean() < 0.02


def test_frames_that_do_not_fit_are_computed_by_halves():
    given = []

    def squares(frames):
        given.append(len(frames))
        if len(frames) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return frames**2

    parts, found = map(np.concatenate, zip(*halved(squares, np.arange(3, 10), CPU), strict=True))
    assert parts.tolist() == list(range(3, 10)) and found.tolist() == [n**2 for n in parts]
    assert given == [7, 4, 2, 2, 3, 2, 1]
    with pytest.raises(NrcorrectError, match="no memory left on cpu, not even for one frame"):
        list(halved(lambda _: squares(np.arange(3)), np.arange(2), CPU))


def test_an_error_that_is_not_of_memory_is_told_as_it_is():
    def broken(_):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match=r"\Abroken\Z"):
        list(halved(broken, np.arange(3), CPU))


def test_a_gpu_averages_frames_as_they_are_averaged_elsewhere():
    frames = np.random.default_rng(0).integers(0, 60000, (3, 37, 50), np.uint16)
    for factor in (1, 2):
        expected = binned(frames, factor)
        np.testing.assert_allclose(averaged(sent(frames, CPU), factor).numpy(), expected, rtol=1e-6)
        np.testing.assert_array_equal(sent_binned(frames, factor, CPU).numpy(), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32"])
def test_counts_are_rounded_and_clipped_never_wrapped(dtype):
    limits = np.iinfo(dtype)
    values = np.array([limits.min - 9.0, limits.min, 1.5, 2.5, 3.49, limits.max - 0.4, limits.max + 9.0])
    expected = [limits.min, limits.min, 2, 2, 3, limits.max, limits.max]
    assert counts(torch.from_numpy(values), np.dtype(dtype)).tolist() == expected


def test_float_values_stay_and_nan_becomes_zero_in_integers():
    values = torch.tensor([0.25, np.nan, -np.inf, np.inf])
    assert counts(values, np.dtype("float32")) is values
    assert counts(values, np.dtype("uint8")).tolist() == [0, 0, 0, 255]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float64"])
def test_values_of_any_type_arrive_as_numbers(dtype, monkeypatch):
    """On a GPU, too, which gets their bits."""
    high = 1000 if dtype.startswith("float") else np.iinfo(dtype).max
    values = np.array([[0, 1, high // 2 + 1, high]], dtype)
    assert received(sent(values, CPU)).tolist() == values.tolist()
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda bits: bits)
    assert on_cuda(values, CPU).tolist() == values.tolist()


def test_only_cuda_does_everything():
    assert full_device(torch.device("cuda")).type == "cuda" and full_device(torch.device("mps")) == CPU
    own_stream(CPU)
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(sent(values, CPU).numpy(), values)
    assert choose_device("cpu") == CPU


def test_a_device_is_chosen_by_what_is_there(monkeypatch):
    """Apple's only if it is asked for: torch is not safe there in more than one thread."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == CPU and choose_device("mps").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    assert choose_device("auto").type == "cuda"


@pytest.mark.parametrize(("device", "threads"), [("mps", 1), ("cpu", 3)])
def test_on_mps_one_thread_computes(monkeypatch, device, threads):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    options = moco_dl.CorrectOptions(device=device, threads=3, rigid_only=True)
    assert Corrector(options).workers.threads == threads


def test_memory_that_torch_keeps_for_more_is_free(monkeypatch):
    told = {
        "mem_get_info": (0, 2**40),
        "memory_reserved": 5 * 4 * 64 * 100,
        "memory_allocated": 2 * 4 * 64 * 100,
    }
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert frames_that_fit(torch.device("cuda"), 100) == 3


def test_each_worker_starts_with_what_it_is_given():
    started = []
    assert list(Workers(2, lambda: started.append(True)).map(lambda i: i, range(8))) == list(range(8))
    assert 1 <= len(started) <= 2


def test_a_gpu_finds_what_a_cpu_finds_whatever_the_batch_size(known_movie, gpu):
    expected, found, again = (
        moco_dl.correct(known_movie[0], device=device, **options)
        for device, options in (("cpu", {}), ("cuda", {}), ("cuda", {"batch_size": 7, "threads": 2}))
    )
    difference = np.hypot(*(found.fields[:] - expected.fields[:]).swapaxes(0, 1))
    assert difference.mean() < 0.001 and difference.max() < 0.02
    np.testing.assert_allclose(again.fields[:], found.fields[:], atol=1e-3)
    assert np.abs(again.corrected.astype(int) - found.corrected).mean() < 0.01  # counts
