"""A recording in several files: one movie to all who read it."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.formats.checks import closed_on_error
from moco_dl.movie import Movie, Selection, describe, open_movie

OPEN = 16  # files; a system allows some hundred
NAMED = 3  # datasets, if they have many names
NUMBER = re.compile(r"[0-9]+")


@contextmanager
def open_recording(
    paths: Sequence[Path], selection: Selection, *, image: bool = False
) -> Iterator[tuple[Movie, dict]]:
    """The movie in a file, or in several that follow one another; and what identifies it.

    A file of one `image` is a movie only if that is said. Raises NrcorrectError if one of them cannot be read,
    or they do not belong together.
    """
    opened = open_movie(paths[0], selection, image=image) if len(paths) == 1 else JoinedMovie(paths, selection)
    with closing(opened) as movie:
        yield movie, describe(paths, movie, selection)


class JoinedMovie:
    """Movies one after another, of which few are open at a time. A file may be a single image."""

    def __init__(self, paths: Sequence[Path], selection: Selection):
        _refuse_disorder(paths)
        self.dataset: str | None = None
        self._paths, self._selection, self._known = paths, selection, set[Path]()
        for path in paths:
            if (place := Path(os.path.realpath(path))) in self._known:
                raise NrcorrectError(f"{path}: leads to a file that is named as well; name each once")
            self._known.add(place)
        self._open: dict[int, Movie] = {}  # by number of the file; those used last are last
        self.files = set(self._known)
        lengths, datasets, notes = [], {}, {}
        with closed_on_error(self):
            first = self._movie(0)
            self.dtype, self.format, self.pixel = first.dtype, first.format, first.pixel
            self.dataset, self.frames_apart = first.dataset, True
            for number, path in enumerate(paths):
                movie = self._movie(number)
                if movie.shape[1:] != first.shape[1:] or movie.dtype != first.dtype:
                    raise NrcorrectError(
                        f"{path}: frames are {_kind(movie)}, in {paths[0]} {_kind(first)}; wanted one recording"
                    )
                lengths.append(movie.shape[0])
                if movie.dataset is not None:
                    datasets[movie.dataset] = None
                notes |= dict.fromkeys(movie.notes)
                self.files |= movie.files
                self.frames_apart &= movie.frames_apart
        if len(datasets) > 1:
            more = f" and {len(datasets) - NAMED} more" if len(datasets) > NAMED else ""
            notes[f"taken from datasets {', '.join(map(repr, [*datasets][:NAMED]))}{more}"] = None
        self.notes = tuple(notes)
        self._starts = np.cumsum([0, *lengths])
        self.shape = (int(self._starts[-1]), *first.shape[1:])

    def _movie(self, number: int) -> Movie:
        path = self._paths[number]
        movie = self._open.pop(number, None) or self._opened(path)
        self._open[number] = movie
        if len(movie.files & self._known) > 1:
            raise NrcorrectError(f"{path}: holds the frames of the others, too; name this file only")
        if len(self._open) > OPEN:
            self._open.pop(next(iter(self._open))).close()
        return movie

    def _opened(self, path: Path) -> Movie:
        """Its dataset is that of the first file, if there is such a one."""
        if self.dataset is not None:
            with suppress(NrcorrectError):
                return open_movie(path, replace(self._selection, dataset=self.dataset))
        return open_movie(path, self._selection, image=True)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        indices = np.asarray(indices, int)
        frames = np.empty((len(indices), *self.shape[1:]), self.dtype)
        files = np.searchsorted(self._starts, indices, side="right") - 1
        for file in np.unique(files):
            here = files == file
            movie, start = self._movie(file), self._starts[file]
            if movie.shape[0] != self._starts[file + 1] - start:
                raise NrcorrectError(
                    f"{self._paths[file]}: has changed while it was read; wait until it is complete"
                )
            frames[here] = movie.read((indices[here] - start).tolist())
        return frames

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _kind(movie: Movie) -> str:
    return f"{movie.shape[1]}x{movie.shape[2]} {movie.dtype.name}"


def numbered(paths: Sequence[Path]) -> bool:
    """Whether names differ by numbers only."""
    return len({NUMBER.sub("", str(path)) for path in paths}) == 1


def _refuse_disorder(paths: Sequence[Path]) -> None:
    """A shell lists part_10 before part_2."""
    for before, after in pairwise(paths):
        if numbered((before, after)) and _numbers(before) > _numbers(after):
            raise NrcorrectError(
                f"{before} comes before {after}; name the files of a recording in the order of their numbers,"
                " as sort -V puts them"
            )


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in NUMBER.findall(str(path))]
