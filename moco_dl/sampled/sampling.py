"""Which frames of a movie are looked at, and what of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from moco_dl.blocks import binned, repeated
from moco_dl.memory import frames_in, frames_sampled
from moco_dl.movie import Movie
from moco_dl.options import CorrectOptions
from moco_dl.reference import mean_of
from moco_dl.sampled.clearing import Clearing
from moco_dl.sampled.edges import measure_edges
from moco_dl.sampled.haze import Haze, Registered, haze_width, local_means
from moco_dl.sampled.levels import levels_follow, levels_wander, usual_levels
from moco_dl.sampled.lines import standing_lines
from moco_dl.sampled.samples import Samples, draw_samples, sample_runs, without_infinite
from moco_dl.sampled.scan import checked_offset, measure_row_offset
from moco_dl.sampled.smear import measure_smear
from moco_dl.sampled.specks import fixed_specks
from moco_dl.sampled.spikes import always_hot
from moco_dl.sampled.surround import dark_surround
from moco_dl.sampled.walk import Walk
from moco_dl.sampled.waves import measure_waves

GLANCED = 32  # samples, that show whether the view has a dark surround
PASSES = 8  # in which specks are looked for: without the clearest ones, others are seen
LEFT = 0.5  # of what is seen: specks that leave less are none
KEPT = 25 * 2**20  # bytes of sampled frames that are kept in memory; all, if others would be read with each


class RigidFit(NamedTuple):
    """Samples that are registered by whole-frame shifts."""

    reference: np.ndarray  # (h, w) float32, made of them
    some: np.ndarray  # (n,) bool: which are
    shifts: np.ndarray  # (k, 2) px, of these
    walk: Walk | None  # how they walk, if they are dim
    agree: np.ndarray  # (k,) bool: which of these agree with the reference
    power: np.ndarray  # (RINGS,) mean of some, see `RigidRegistration`

    def agreeing(self, samples: Samples) -> tuple[Samples, np.ndarray]:
        """Those of all `samples` that agree with the reference, and their shifts."""
        return samples.only(self.some).only(self.agree), self.shifts[self.agree]


Fit = Callable[[Samples], RigidFit]


class Drawn(NamedTuple):
    """Samples of a movie, as they are looked at."""

    clearing: Clearing  # of frames
    samples: Samples
    small: Samples  # averaged over `Sampling.factor` pixels a side


@dataclass(frozen=True)
class Sampling:
    """How samples of a movie are drawn."""

    movie: Movie
    options: CorrectOptions
    factor: int  # pixels a side over which the smaller ones are averaged
    mapping: Callable  # `map`, or what does the same with several threads

    def draw(self, fit: Fit) -> tuple[Drawn, RigidFit, bool]:
        """Samples of what shows something, their rows below one another; smaller ones, registered by `fit`.

        And whether what is hidden is dark, and stays in place.
        """
        given = self.options.row_offset
        offset = None if given is None else checked_offset(given, self.movie.shape)
        drawn = self._cleared(Clearing())
        if (hot := always_hot(self._halves(drawn.samples))) is not None:
            drawn = self._cleared(replace(drawn.clearing, hot=hot))
        if edges := measure_edges(drawn.samples):
            drawn = self._cleared(replace(drawn.clearing, edges=edges))
        if (lines := standing_lines(drawn.samples)) is not None:
            drawn = self._cleared(replace(drawn.clearing, lines=lines))
        if offset is None:
            offset = measure_row_offset(drawn.samples, self.mapping)
        if offset:
            drawn = self._cleared(replace(drawn.clearing, row_offset=offset))
        drawn, surrounded = self._unsurrounded(self._undisturbed(drawn, fit), fit)
        drawn, rigid = self._unspecked(drawn, fit)
        smear = measure_smear(drawn.samples.only(rigid.some), self.factor * rigid.shifts, self.mapping)
        if smear is not None:
            drawn = self._cleared(replace(drawn.clearing, smear=smear))
            rigid = fit(drawn.small)
        if (haze := self._haze(drawn, rigid, fit)) is not None:
            drawn = self._cleared(replace(drawn.clearing, haze=haze))
            rigid = fit(drawn.small)
        return drawn, rigid, surrounded

    def _halves(self, samples: Samples) -> np.ndarray:
        """(2, H, W): means of half of some samples, and of the other half."""
        some = samples.glanced(GLANCED)
        halves = (some.only(np.arange(half % len(some), len(some), 2)) for half in (0, 1))
        return np.stack([mean_of(half) for half in halves])

    def _undisturbed(self, drawn: Drawn, fit: Fit) -> Drawn:
        """The same without light on rows that comes and goes, and without waves."""
        if levels_wander(drawn.small):
            rigid = fit(drawn.small)
            if not levels_follow(drawn.small.only(rigid.some), rigid.shifts):
                drawn = self._cleared(replace(drawn.clearing, usual=usual_levels(drawn.samples)))
        if (waves := measure_waves(drawn.samples)) is not None:
            rigid = fit(self._cleared(replace(drawn.clearing, waves=waves)).small)
            waves = waves.wandering(drawn.samples.only(rigid.some), self.factor * rigid.shifts)
        return drawn if waves is None else self._cleared(replace(drawn.clearing, waves=waves))

    def _unsurrounded(self, drawn: Drawn, fit: Fit) -> tuple[Drawn, bool]:
        """The same without a dark surround, and whether there is one."""
        surround = dark_surround(mean_of(drawn.small.glanced(GLANCED)), self.factor)
        if surround is not None:
            rigid = fit(self._cleared(drawn.clearing.hiding(self._enlarged(surround.generous.hidden))).small)
            surround = surround.staying(*rigid.agreeing(drawn.small))
        if surround is None:
            return drawn, False
        return self._cleared(drawn.clearing.hiding(self._enlarged(surround.hidden))), True

    def _unspecked(self, drawn: Drawn, fit: Fit) -> tuple[Drawn, RigidFit]:
        """The same without specks, and registered."""
        rigid = fit(drawn.small)
        for _ in range(PASSES):
            specks = fixed_specks(*rigid.agreeing(drawn.small), rigid.reference, self.factor)
            if specks is None:
                break
            without = drawn.clearing.hiding(self._enlarged(specks))
            if 1 - without.edges.share < LEFT * (1 - drawn.clearing.edges.share):
                break
            drawn = self._cleared(without)
            rigid = fit(drawn.small)
        return drawn, rigid

    def _haze(self, drawn: Drawn, rigid: RigidFit, fit: Fit) -> Haze | None:
        """What is coarse in samples, if some of it stays in place."""

        def register(some: Samples) -> Registered | None:
            found = fit(some)
            return found.agreeing(some) if found.walk is None else None

        width = haze_width(*rigid.agreeing(drawn.small), self.factor, register)
        if width is None:
            return None
        return Haze(width, local_means(mean_of(drawn.samples.glanced(GLANCED))[None], width)[0])

    def without_surround(self, image: np.ndarray) -> np.ndarray:
        """Image (H, W) with NaN for its dark surround."""
        found = dark_surround(binned(image[None], self.factor)[0], self.factor)
        return image if found is None else np.where(self._enlarged(found.hidden), np.nan, image)

    def _enlarged(self, these: np.ndarray) -> np.ndarray:
        """Pixels (h, w) of smaller samples -> those of the movie (H, W)."""
        return repeated(these, self.factor, self.movie.shape[1:])

    def _cleared(self, clearing: Clearing) -> Drawn:
        """Samples as they are looked at with this clearing."""
        count, size = self.movie.shape[0], KEPT
        if clearing.floats:
            size = size * self.movie.dtype.itemsize // max(self.movie.dtype.itemsize, 4)
        samples, small = draw_samples(
            self.movie.read,
            sample_runs(count, self.options.ref_frames or frames_sampled(self.movie)),
            kept=frames_in(size, self.movie, 1, count) if self.movie.frames_apart else count,
            shrunk=None if self.factor == 1 else partial(binned, factor=self.factor),
            mapping=self.mapping,
            cleared=lambda frames: clearing(without_infinite(frames)),
        )
        return Drawn(clearing, samples, small)
