"""Evaluations to draw, made of arrays in the plainest way."""

from dataclasses import replace

import numpy as np

from moco_dl.evaluation import Evaluation, Excerpts, Pictures, Row, Traces, Verdict

PROVENANCE = {
    "command": "nrcorrect evaluate <movie>.tif movie_corrected.tif -o report.html",
    "version": "0.1.0",
    "weights_sha256": "7d140ccecb8ab1b1109ec200192bd80c7f4fe55cda4f7082e6f826881aa59d93",
    "inputs": [{"name": '<movie> & "friends".tif', "shape": [40, 96, 112], "dtype": "uint16"}],
    "options": {"ref": "median", "smooth": None, "interpolation": "bicubic"},
}
TABLE = (
    Row("crispness", "crispness of the mean image", "", "higher", "Norm of its gradient.", 3.2e4, 4.1e4),
    Row("residual_shift", "residual shift", "px", "lower", "Mean over frames.", 2.71, 0.08),
    Row("folded", "folded pixels", "%", "", "Where the field turns tissue over.", None, 0.0),
    Row("unknown", "nobody knows <b>this</b>", "", "higher", "", None, 1.0),
)
BETTER = Verdict(
    "better",
    "Tissue that moved by 2.7 px on average now stays within 0.1 px, and nothing was folded.",
    (
        ("residual shift", "2.71 → 0.08 px"),
        ("correlation with the reference", "0.66 → 0.72"),
        ("crispness", "1.28 times"),
    ),
)


def correlations(frames: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Of each frame (T, H, W) with the reference (H, W)."""
    a = (frames - frames.mean(axis=(1, 2), keepdims=True)).reshape(len(frames), -1)
    b = (reference - reference.mean()).ravel()
    return (a @ b / np.linalg.norm(a, axis=1) / np.linalg.norm(b)).astype(np.float32)


def neighbour_correlation(frames: np.ndarray) -> np.ndarray:
    """Of each pixel with the one to its right and the one below, over time: (H, W)."""
    z = (frames - frames.mean(axis=0)) / (frames.std(axis=0) + 1e-6)
    right, below = ((z * np.roll(z, -1, axis=axis)).mean(axis=0) for axis in (2, 1))
    return ((right + below) / 2).astype(np.float32)


def binned(frames: np.ndarray, count: int, factor: int) -> np.ndarray:
    """`count` moments of `frames`, factor x factor pixels together."""
    height, width = (size // factor for size in frames.shape[1:])
    means = np.stack([part.mean(axis=0) for part in np.array_split(frames, count)])
    cut = means[:, : height * factor, : width * factor]
    return cut.reshape(count, height, factor, width, factor).mean(axis=(2, 4))


def evaluation_of(raw: np.ndarray, corrected: np.ndarray, fields: np.ndarray | None) -> Evaluation:
    """Of a movie (T, H, W) and its correction by `fields` (T, 2, H, W)."""
    raw, corrected = raw.astype(np.float32), corrected.astype(np.float32)
    count, height, width = raw.shape
    reference = np.median(corrected, axis=0)
    known = fields is not None
    rigid = fields.mean(axis=(2, 3)) if known else None
    beyond = np.hypot(*np.moveaxis(fields - rigid[:, :, None, None], 1, 0)) if known else None
    flags = tuple(("low correlation",) if t % 17 == 5 else () for t in range(count))
    chosen = np.unique(np.linspace(0, count - 1, 12).astype(int))
    moments = min(30, count)
    factor = max(1, max(height, width) // 128)
    return Evaluation(
        shape=raw.shape,
        traces=Traces(
            correlation_before=correlations(raw, reference),
            correlation_after=correlations(corrected, reference),
            rigid=rigid,
            nonrigid_mean=beyond.mean(axis=(1, 2)) if known else None,
            nonrigid_max=beyond.max(axis=(1, 2)) if known else None,
            flags=flags,
        ),
        pictures=Pictures(
            reference,
            raw.mean(axis=0),
            corrected.mean(axis=0),
            neighbour_correlation(raw),
            neighbour_correlation(corrected),
        ),
        excerpts=Excerpts(
            preview_frames=np.array([part[0] for part in np.array_split(np.arange(count), moments)]),
            preview_before=binned(raw, moments, factor),
            preview_after=binned(corrected, moments, factor),
            line=("row", height // 2),
            line_before=raw[:, height // 2],
            line_after=corrected[:, height // 2],
            field_frames=chosen if known else np.zeros(0, int),
            fields=fields[chosen][:, :, 2::4, 2::4] if known else np.zeros((0, 2, 0, 0), np.float32),
            field_step=4.0,
        ),
        table=TABLE,
        verdict=BETTER,
        provenance=PROVENANCE,
    )


def values(evaluation: Evaluation) -> dict[str, tuple[float | None, float | None]]:
    """Of its table, before and after."""
    return {row.key: (row.before, row.after) for row in evaluation.table}


def without_fields(evaluation: Evaluation) -> Evaluation:
    """The same where no fields and no correlation images are known."""
    traces = replace(evaluation.traces, rigid=None, nonrigid_mean=None, nonrigid_max=None)
    nothing = replace(evaluation.excerpts, field_frames=np.zeros(0, int), fields=np.zeros((0, 2, 0, 0)))
    pictures = replace(evaluation.pictures, correlation_before=None, correlation_after=None)
    return replace(evaluation, traces=traces, excerpts=nothing, pictures=pictures)
