"""Print how much a correction helps: how frames correlate, how crisp their mean is, what still moves.

    python compare_movies.py MOVIE...

Of the raw movie, of one with whole-frame shifts only, and of the corrected one. Correlation is that of each
frame with the reference, averaged; crispness is the norm of the mean image's gradient, over that of the raw
movie (after NoRMCorre; Pnevmatikakis and Giovannucci, J. Neurosci. Methods 291, 2017). Eight pixels at the
border are left out. What still moves, whole frames (shift) and parts of them (flow, which needs OpenCV), is
measured as `nrcorrect evaluate` does it. The movies are read into memory.
"""

import sys
from pathlib import Path

import numpy as np

import moco_dl
from moco_dl.evaluation import Row
from moco_dl.movie import open_movie

INNER = (..., slice(8, -8), slice(8, -8))
HEADER = (
    "movie",
    "correlation raw, rigid, corrected",
    "crispness rigid, corrected",
    "residual shift raw, rigid, corrected, px",
    "residual flow raw, rigid, corrected, px",
    "mean displacement, px",
)


def correlation(frames: np.ndarray, image: np.ndarray) -> float:
    image = image[INNER].astype(np.float64)
    known = np.isfinite(image)  # the rest was left out of the correction
    image = image[known] - image[known].mean()
    flat = frames[INNER][:, known].astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1)
    seen = lengths > 0  # constant frames have no correlation
    return float((flat[seen] @ image / lengths[seen] / np.linalg.norm(image)).mean())


def crispness(frames: np.ndarray) -> float:
    return float(np.linalg.norm(np.gradient(frames.mean(axis=0, dtype=np.float64)[INNER])))


def residual(tables: list[tuple[Row, ...]], key: str) -> str:
    rigid, corrected = (row for table in tables for row in table if row.key == key)
    values = (rigid.before, rigid.after, corrected.after)
    return ", ".join("-" if value is None else f"{value:.3f}" for value in values)


def main(paths: list[str]) -> None:
    print("\t".join(HEADER))
    for path in paths:
        movie = open_movie(Path(path))
        raw = movie.read(range(movie.shape[0]))
        movie.close()
        result = moco_dl.correct(raw)
        rigid = moco_dl.correct(raw, result.reference, rigid_only=True).corrected
        movies = (raw, rigid, result.corrected)
        tables = [moco_dl.evaluate(raw, frames, reference=result.reference).table for frames in movies[1:]]
        field = result.fields[:]
        columns = (
            Path(path).name,
            ", ".join(f"{correlation(frames, result.reference):.3f}" for frames in movies),
            ", ".join(f"{crispness(frames) / crispness(raw):.3f}" for frames in movies[1:]),
            residual(tables, "residual_shift"),
            residual(tables, "residual_flow"),
            f"{np.hypot(field[:, 0], field[:, 1]).mean():.3f}",
        )
        print("\t".join(columns), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
