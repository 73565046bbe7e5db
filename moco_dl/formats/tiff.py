"""TIFF movies: plain, BigTIFF, ImageJ, OME, compressed, one page or one series a frame."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tifffile

from moco_dl.errors import NrcorrectError
from moco_dl.formats.checks import check_movie, closed_on_error
from moco_dl.formats.pages import as_stored, damage_reported, decode, opened
from moco_dl.formats.pixelsize import pixel_size
from moco_dl.formats.scanimage import axes_of
from moco_dl.formats.series import frames_of, largest, left_out, loose, says_where
from moco_dl.formats.turns import Turns, along_axes, in_turn

DECODERS = 4  # threads that decode compressed frames
FILE_NAME = re.compile(r'FileName="([^"]*)"')  # where OME has frames of a recording
Frame = tuple[tifffile.TiffPageSeries, int]  # in which series, and its number in it


class TiffMovie:
    """A TIFF movie: the frames of all series that look like the one with most frames, or the first of such.

    Of these, `turns` may choose one channel or plane of several. One `image` is a movie, and several of many
    frames are one, `joined`, if that is said.
    """

    format, frames_apart = "tiff", True
    dataset = None

    def __init__(self, path: Path, turns: Turns, *, image: bool, joined: bool):
        self.path = path
        with damage_reported(path):
            # What it makes of ScanImage's files may lack the last frames, or have more than there are.
            self._file = tifffile.TiffFile(path, is_scanimage=False)
        self._file.filehandle.set_lock(True)
        self._decoders = ThreadPoolExecutor(DECODERS)
        with closed_on_error(self):
            self._inspect(turns, image, joined)

    def _inspect(self, turns: Turns, image: bool, joined: bool) -> None:
        with damage_reported(self.path):
            alike, others = largest(self._file.series)
        alike = self._one_image(alike)
        if not (joined or loose(alike)):
            self._refuse_several(alike)
        first = alike[0]
        self._refuse_other_images(first)
        self._frames = self._taken(self._chosen(alike, turns))
        self._starts = {series: self._start(series) for series in alike}
        self.files = self._other_files() | {self.path.resolve()}
        self.shape = (len(self._frames), *first.shape[-2:])
        self.dtype = first.dtype.newbyteorder("=")
        self.pixel = pixel_size(self._file) if first is self._file.series[0] else None  # not a thumbnail's
        if len(alike) == 1 and len(first.shape) == 2 and not image:
            height, width = first.shape
            raise NrcorrectError(
                f"{self.path}: holds one image {height}x{width}; wanted a movie: if each holds a frame, name"
                " all of them with --join; to bring it onto another image: nrcorrect correct --ref IMAGE"
            )
        check_movie(str(self.path), self.shape, self.dtype)
        self._refuse_truncated(alike)
        self._refuse_other_types(others)
        self.notes = left_out(others, alike)

    def _refuse_several(self, alike: list[tifffile.TiffPageSeries]) -> None:
        movies = sum(frames_of(series) > 1 for series in alike)
        if movies and len(alike) > 1:
            more = f"{movies} movies" if movies > 1 else "a movie and images beside it"
            raise NrcorrectError(
                f"{self.path}: holds {more}; wanted one: save each on its own, or add --join if they are one"
                " recording"
            )

    def _refuse_other_images(self, series: tifffile.TiffPageSeries) -> None:
        page = series.keyframe
        if page.samplesperpixel == 2:
            raise NrcorrectError(
                f"{self.path}: holds grey images with transparency {series.axes} {series.shape}; wanted one"
                " grey value a pixel: save it without alpha channel"
            )
        if "S" in series.axes or page.samplesperpixel > 1 or page.photometric == tifffile.PHOTOMETRIC.RGB:
            raise NrcorrectError(
                f"{self.path}: holds colour (RGB) images {series.axes} {series.shape}; wanted one grey value"
                " a pixel: save one channel, or a 3-frame movie as greyscale"
            )
        if page.is_volumetric and series.dataoffset is None:
            raise NrcorrectError(
                f"{self.path}: images are {page.imagedepth} deep, and compressed or in tiles; wanted an image a"
                " frame: save it anew, with tifffile without volumetric=True"
            )
        if series.axes[-2:] != "YX":
            raise NrcorrectError(
                f"{self.path}: has axes {series.axes} {series.shape}; wanted height and width last: convert it"
            )

    def _chosen(self, alike: list[tifffile.TiffPageSeries], turns: Turns) -> list[Frame]:
        """Those that are wanted."""
        axes, shape, _ = self._axes(alike[0])
        try:
            frames = []
            for series in alike:
                *whole, here = self._axes(series)
                numbers, left = along_axes(*whole, turns)
                frames += [(series, here.index(number)) for number in numbers.tolist() if number in here]
            if len(alike) > 1 and loose(alike):
                frames.sort(key=lambda frame: frame[0].pages[frame[1]].index)
            return frames[in_turn(len(frames), left)]
        except ValueError as error:
            full = (*shape, *alike[0].shape[-2:])
            raise NrcorrectError(f"{self.path}: axes {axes}YX {full}: {error}") from error

    def _taken(self, frames: list[Frame]) -> list[Frame]:
        """Without those at the end that an OME recording in one file was to have, and never got."""
        named = set(FILE_NAME.findall(self._file.ome_metadata)) if self._file.is_ome else set()
        if len(named) <= 1:  # this file, which may have got another name since
            while frames and says_where(frames[-1][0]) and frames[-1][0].pages[frames[-1][1]] is None:
                frames.pop()
        return frames

    def _one_image(self, alike: list[tifffile.TiffPageSeries]) -> list[tifffile.TiffPageSeries]:
        """Of several movies in an OME recording, such as of places, the one that is in this file."""
        movies = [series for series in alike if frames_of(series) > 1]
        if not self._file.is_ome or len(movies) < 2:
            return alike
        here = [series for series in movies if self._holds(series.pages[0])]
        if len(here) != 1:
            raise NrcorrectError(
                f"{self.path}: holds {len(here)} of {len(movies)} OME images of {frames_of(movies[0])} frames;"
                " wanted one movie a file: save each on its own"
            )
        return here

    def _holds(self, page: tifffile.TiffPage | tifffile.TiffFrame | None) -> bool:
        return page is not None and page.parent is self._file

    def _start(self, series: tifffile.TiffPageSeries) -> int | None:
        """Where its frames begin, if they lie in this file, uncompressed and one after another."""
        scattered = says_where(series) and not all(self._holds(page) for page in series.pages)
        return None if scattered else series.dataoffset

    def _other_files(self) -> set[Path]:
        """Those of an OME recording in many files, which it says itself."""
        pages = [series.pages[place] for series, place in self._frames if says_where(series)]
        lost = [number for number, page in enumerate(pages) if page is None]
        if lost:
            raise NrcorrectError(
                f"{self.path}: {len(lost)} of its {len(pages)} frames, from number {lost[0]}, are in files that"
                " are not there; put all files of the recording into one folder"
            )
        return {Path(path).resolve() for path in {page.parent.filehandle.path for page in pages}}

    def _axes(self, series: tifffile.TiffPageSeries) -> tuple[str, tuple[int, ...], range]:
        """Those of a series, and their sizes, without height and width; and which of these frames it has."""
        if self._file.pages.first.is_scanimage:
            return axes_of(self._file.filehandle, len(series.pages), self._file.pages.first.description)
        return series.axes[:-2], series.shape[:-2], range(frames_of(series))

    def _refuse_truncated(self, alike: list[tifffile.TiffPageSeries]) -> None:
        size = self.path.stat().st_size
        for series in alike:
            start = self._starts[series]
            if start is not None and start + series.nbytes > size:
                raise NrcorrectError(
                    f"{self.path}: truncated: {size} bytes, but its frames end at"
                    f" {start + series.nbytes}; copy it again"
                )

    def _refuse_other_types(self, others: list[tifffile.TiffPageSeries]) -> None:
        for series in others:
            if series.axes[-2:] == "YX" and series.shape[-2:] == self.shape[1:]:  # no thumbnail
                raise NrcorrectError(
                    f"{self.path}: holds frames of several types, {self.dtype} and {series.dtype}; wanted one:"
                    " save all frames alike"
                )

    def read(self, indices: Sequence[int]) -> np.ndarray:
        frames = np.empty((len(indices), *self.shape[1:]), self.dtype)
        pages, elsewhere = [], []  # (where the frame belongs, page): compressed or not, here or in other files
        with damage_reported(self.path):
            for frame, (series, place) in zip(frames, (self._frames[i] for i in indices), strict=True):
                if self._starts[series] is None:
                    page = series.pages[place]
                    if self._holds(page):
                        pages.append((frame, as_stored(page, series.keyframe)))
                    else:
                        elsewhere.append((frame, page))
                else:
                    self._read_into(frame, series, place)
            # Finding pages is not for more than one thread.
            for _ in self._decoders.map(decode, pages):
                pass
            # Thousands of files cannot all be open, and threads would close them on one another.
            for item in elsewhere:
                with opened(item[1].parent.filehandle):
                    decode(item)
        return frames

    def _read_into(self, frame: np.ndarray, series: tifffile.TiffPageSeries, index: int) -> None:
        # Read rather than mapped: mapped pages would count as memory of the process.
        dtype = series.dtype.newbyteorder(self._file.byteorder)
        self._file.filehandle.read_array(
            dtype, frame.size, self._starts[series] + index * frame.nbytes, out=frame
        )

    def close(self) -> None:
        self._decoders.shutdown()
        self._file.close()
