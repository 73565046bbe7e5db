"""Fields that are known to be true, of synthetic movies, and how far others are from them."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.evaluation.metrics import end_point_errors
from moco_dl.evaluation.moments import evenly
from moco_dl.evaluation.results import Row
from moco_dl.fields import load_fields

BORDER = 16  # px that count as border
PROBED = 100  # frames, and every so many pixels, from which the constant vector is taken
PROBE_STEP = 8
CHUNK = 8  # frames in memory at a time
ARRAY, META, STORED = "gt_field.npy", "meta.json", "*_truth.h5"  # files of a folder
WAY_OUT = "wanted a folder with gt_field.npy, or the NAME_truth.h5 that nrcorrect synth --movie wrote"

Field = Callable[[slice], np.ndarray]  # frames -> (n, 2, H, W) float32 px


@dataclass(frozen=True)
class Truth:
    """The true field of a movie, read when sliced."""

    shape: tuple[int, int, int]  # (T, H, W)
    field: Field
    photons: float | None  # mean photons a pixel, if that is written down


def load_truth(path: Path, shape: tuple[int, int, int]) -> Truth:
    """The true field of a movie of `shape` (T, H, W).

    `path` is a folder with gt_field.npy and meta.json, or with one NAME_truth.h5, or such a file itself.
    Raises NrcorrectError if there is none, or it belongs to a movie of another shape.
    """
    truth = _from_folder(path) if path.is_dir() else _from_file(path)
    if truth.shape != shape:
        raise NrcorrectError(
            f"{path}: true fields of a movie {truth.shape}, this one is {shape}; wanted the same number of"
            " frames and frame size"
        )
    return truth


def truth_files(path: Path) -> list[Path]:
    """What `load_truth` reads, or might."""
    if not path.is_dir():
        return [path, path.with_name(META)] if path.suffix == ".npy" else [path]
    return [path, path / ARRAY, path / META, *path.glob(STORED)]


def _from_folder(folder: Path) -> Truth:
    if (folder / ARRAY).exists():
        return _from_array(folder / ARRAY)
    found = sorted(folder.glob(STORED))
    if len(found) == 1:
        return _from_file(found[0])
    several = f"; name one of {', '.join(path.name for path in found)}" if found else ""
    raise NrcorrectError(f"{folder}: holds {len(found)} true fields; {WAY_OUT}{several}")


def _from_file(path: Path) -> Truth:
    if path.suffix == ".npy":
        return _from_array(path)
    fields = load_fields(path)
    if "weights_sha256" in fields.metadata:
        raise NrcorrectError(f"{path}: fields that a correction has found; {WAY_OUT}")
    return Truth(fields.shape, fields.__getitem__, _photons(fields.options))


def _from_array(path: Path) -> Truth:
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # np.load takes archives, too
    except (OSError, ValueError) as error:
        raise NrcorrectError(f"{path}: cannot read the true field ({error}); {WAY_OUT}") from error
    if array.ndim != 4 or array.shape[1] != 2 or array.dtype.kind not in "fiu":
        got = f"{array.dtype} of shape {array.shape}"
        raise NrcorrectError(f"{path}: holds {got}; wanted real numbers (frames, 2, height, width)")
    about = path.with_name(META)
    try:
        meta = json.loads(about.read_text("utf-8")) if about.exists() else {}
    except OSError as error:
        raise NrcorrectError(f"{about}: cannot read: {error.strerror}; mend or remove it") from error
    except (ValueError, RecursionError) as error:
        raise NrcorrectError(f"{about}: damaged JSON ({error}); mend or remove it") from error
    if not isinstance(meta, dict):
        raise NrcorrectError(f"{about}: holds {type(meta).__name__}; wanted a JSON object: mend or remove it")
    shape = (array.shape[0], *array.shape[2:])
    return Truth(shape, lambda part: np.asarray(array[part], np.float32), _photons(meta))


def _photons(about: dict) -> float | None:
    value = about.get("photons")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def score(field: Field, truth: Truth) -> list[Row]:
    """Lines of the table: mean end-point error, of doing nothing (before) and of `field` (after).

    One constant vector is taken off for the whole movie, the median over the interior, because the position of
    a reference is arbitrary.
    """
    constants = [_constant(one, truth) for one in (None, field)]
    totals: list[dict[str, list[float]]] = [{}, {}]
    for start in range(0, truth.shape[0], CHUNK):
        part = slice(start, start + CHUNK)
        true = truth.field(part)
        for one, constant, total in zip((None, field), constants, totals, strict=True):
            guess = np.zeros_like(true) if one is None else one(part)
            for name, errors in end_point_errors(guess - constant, true, BORDER).items():
                total.setdefault(name, []).extend(errors.tolist())
    light = "" if truth.photons is None else f" at {truth.photons:g} photons a pixel"
    places = {
        "whole": f"End-point error{light}",
        "interior": f"{BORDER} px from the border and farther",
        "border": f"nearer than {BORDER} px to the border",
    }
    return [
        Row(
            f"end_point_error_{name}",
            label if name == "whole" else f"End-point error, {label}",
            "px",
            "lower",
            "Mean length of the field's error; before: of doing nothing. One constant vector is taken off.",
            *(_mean_if_known(total[name]) for total in totals),
        )
        for name, label in places.items()
    ]


def _constant(field: Field | None, truth: Truth) -> np.ndarray:
    """(2, 1, 1): median of field - truth over a sample of frames and of pixels off the border."""
    height, width = truth.shape[1:]
    rows, columns = (slice(min(BORDER, n // 4), n - min(BORDER, n // 4), PROBE_STEP) for n in (height, width))
    found = []
    for t in evenly(truth.shape[0], PROBED).tolist():
        part = slice(t, t + 1)
        guess = 0 if field is None else field(part)[..., rows, columns]
        found.append(guess - truth.field(part)[..., rows, columns])
    return np.median(np.concatenate(found).transpose(1, 0, 2, 3).reshape(2, -1), axis=1)[:, None, None]


def _mean_if_known(values: list[float]) -> float | None:
    """None if one of them is not."""
    return float(np.mean(values)) if np.isfinite(values).all() else None
