"""Print how much a correction helps: correlation with the reference, crispness; raw, rigid only, corrected.

    python compare_movies.py MOVIE...

Correlation is that of each frame with the reference, averaged; crispness is the norm of the mean image's
gradient, over that of the raw movie (after NoRMCorre; Pnevmatikakis and Giovannucci, J. Neurosci. Methods 291,
2017). Eight pixels at the border are left out. The movies are read into memory.
"""

import sys
from pathlib import Path

import numpy as np

import moco_dl
from moco_dl.movie import open_movie

INNER = (..., slice(8, -8), slice(8, -8))


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


def main(paths: list[str]) -> None:
    print("movie\tcorrelation raw, rigid, corrected\tcrispness rigid, corrected\tmean displacement, px")
    for path in paths:
        movie = open_movie(Path(path))
        raw = movie.read(range(movie.shape[0]))
        movie.close()
        result = moco_dl.correct(raw)
        rigid = moco_dl.correct(raw, result.reference, rigid_only=True).corrected
        movies = (raw, rigid, result.corrected)
        field = result.fields[:]
        columns = (
            Path(path).name,
            ", ".join(f"{correlation(frames, result.reference):.3f}" for frames in movies),
            ", ".join(f"{crispness(frames) / crispness(raw):.3f}" for frames in movies[1:]),
            f"{np.hypot(field[:, 0], field[:, 1]).mean():.3f}",
        )
        print("\t".join(columns), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
