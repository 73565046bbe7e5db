"""A recording in several files: one movie to all who read it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.movie import Movie, Part, describe, open_movie

NUMBER = re.compile(r"[0-9]+")


@contextmanager
def open_recording(paths: Sequence[Path], part: Part) -> Iterator[tuple[Movie, dict]]:
    """The movie in a file, or in several that follow one another; and what identifies it.

    Raises NrcorrectError if one of them cannot be read, or they do not belong together.
    """
    with ExitStack() as files:
        movies = []
        for path in paths:
            movies.append(open_movie(path, part))
            files.callback(movies[-1].close)
        if len(movies) == 1:
            yield movies[0], describe(paths[0], movies[0], part)
            return
        movie = Joined(paths, movies)
        each = [describe(*file, part) for file in zip(paths, movies, strict=True)]
        yield movie, each[0] | {"shape": list(movie.shape), "files": each}


class Joined:
    """Movies one after another."""

    def __init__(self, paths: Sequence[Path], movies: Sequence[Movie]):
        _refuse_disorder(paths)
        first, known = movies[0], {path.resolve() for path in paths}
        for path, movie in zip(paths, movies, strict=True):
            if len(movie.files & known) > 1:
                raise NrcorrectError(f"{path}: holds the frames of the others, too; name this file only")
            if movie.shape[1:] != first.shape[1:] or movie.dtype != first.dtype:
                raise NrcorrectError(
                    f"{path}: frames are {_kind(movie)}, in {paths[0]} {_kind(first)}; wanted one recording"
                )
        self.movies, self._starts = movies, np.cumsum([0, *(movie.shape[0] for movie in movies)])
        self.shape, self.dtype = (int(self._starts[-1]), *first.shape[1:]), first.dtype
        self.format, self.frames_apart = first.format, all(movie.frames_apart for movie in movies)
        self.files = set().union(*(movie.files for movie in movies))

    def read(self, indices: Sequence[int]) -> np.ndarray:
        indices = np.asarray(indices, int)
        frames = np.empty((len(indices), *self.shape[1:]), self.dtype)
        files = np.searchsorted(self._starts, indices, side="right") - 1
        for file in np.unique(files):
            here = files == file
            frames[here] = self.movies[file].read((indices[here] - self._starts[file]).tolist())
        return frames

    def close(self) -> None:
        for movie in self.movies:
            movie.close()


def _kind(movie: Movie) -> str:
    return f"{movie.shape[1]}x{movie.shape[2]} {movie.dtype.name}"


def _refuse_disorder(paths: Sequence[Path]) -> None:
    """A shell lists part_10 before part_2."""
    for before, after in pairwise(paths):
        same_but_numbers = NUMBER.sub("", str(before)) == NUMBER.sub("", str(after))
        if same_but_numbers and _numbers(before) > _numbers(after):
            raise NrcorrectError(
                f"{before} comes before {after}; name the files of a recording in the order of their numbers,"
                " as ls -v lists them"
            )


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in NUMBER.findall(str(path))]
