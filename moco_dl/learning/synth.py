"""Movies with a known motion: scenes, activity, motion and photon noise put together."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

import numpy as np
import torch

from moco_dl.errors import NrcorrectError
from moco_dl.folding import jacobian
from moco_dl.learning.motion import MotionOptions, Trajectory, beats, bouts, smooth_series, swings
from moco_dl.learning.scenes import add_hot_pixels, add_stripes, expose, refuse_far, scene_margin, some_scene
from moco_dl.learning.streams import Stream
from moco_dl.warp import invert, warp

MEAN = 2_500.0  # counts, at most: active cells are up to 25 times as bright, and uint16 ends at 65535
BRIGHTEST = 3.0  # deviations that light wanders up by
ITERATIONS = 12, 100  # in which a field is inverted if it is smooth, and if it almost folds
FLAT = 0.05  # of its area, to which a pixel may be pressed
TRUE = 0.02  # px, to which frames must be moved by what is stored as their field


@dataclass(frozen=True)
class MovieOptions:
    """A movie with known motion."""

    shape: tuple[int, int, int] = (200, 256, 256)  # frames, height, width
    photons: float = 2.0  # mean per pixel and frame, of the scene at rest, at first if it bleaches
    gain: float = 40.0  # counts per photon; `movie_options` takes less for bright movies
    offset: float = 400.0  # counts
    read_noise: float = 0.4  # photons
    groups: int = 24  # groups of cells that are active together
    calm: float = 1.0  # how strongly tissue moves between bouts, over how it does in them; 1: always alike
    running: float = 0.0  # px, how far tissue swings as an animal runs: on from row to row and frame to frame
    beat: float = 0.0  # frames from one beat of a heart that bends tissue to the next; 0: none does
    bleach: float = 0.0  # share of the light that is lost by the last frame
    flicker: float = 0.0  # by how much light wanders from frame to frame, standard deviation over mean
    pattern: float = 0.0  # contrast of the detector's stripes, over the scene's; 0: no hot pixels either
    row_offset: int = 0  # px by which the second, fourth, ... rows lie to the right, see `scan.py`
    motion: MotionOptions = field(
        default_factory=lambda: MotionOptions(spread=(20.0, 60.0), amplitude=4.0, rigid=6.0, rows=0.5)
    )

    def __post_init__(self) -> None:
        refuse_far(self.whole + self.beside, min(self.shape[1:]))

    @property
    def whole(self) -> float:
        """Pixels that whole rows move by, at most."""
        return self.motion.rigid + self.running

    @property
    def beside(self) -> float:
        """Pixels that tissue moves by beside that; some frames may bend farther than `amplitude`, a beat bends
        tissue by half of that again."""
        return self.motion.amplitude * (2.0 if self.beat else 1.5) + self.motion.rows + abs(self.row_offset)

    @property
    def margin(self) -> int:
        """Pixels of scene around a frame."""
        return scene_margin(self.beside) + math.ceil(self.whole)


def movie_options(*, frames: int | None = None, size: int | None = None, **options: object) -> MovieOptions:
    """MovieOptions with frames of `size` x `size` px; `options` are its fields, and those of MotionOptions.

    None: the default.
    """
    length, side, _ = MovieOptions.shape
    shape = (frames or length, size or side, size or side)
    given = {name: value for name, value in options.items() if value is not None}
    of_motion = {each.name: given.pop(each.name) for each in fields(MotionOptions) if each.name in given}
    brightest = given.get("photons", MovieOptions.photons) * math.exp(BRIGHTEST * given.get("flicker", 0.0))
    given["gain"] = min(MovieOptions.gain, MEAN / brightest)
    return MovieOptions(shape=shape, motion=MovieOptions().motion.changed(of_motion), **given)


def brightness(frames: int, bleach: float, flicker: float, rng: np.random.Generator) -> np.ndarray:
    """`(frames,)` float32, how bright frames are: they fade exponentially, in all by the share `bleach`.

    Besides, light wanders by the share `flicker` (standard deviation) within a few frames.
    """
    decay = (1 - bleach) ** (np.arange(frames) / max(1, frames - 1))
    return (decay * np.exp(flicker * smooth_series(1, frames, rng, 2.0)[0])).astype(np.float32)


class SyntheticMovie:
    """A movie whose motion is known; iterating draws one frame at a time, the same each time."""

    def __init__(self, seed: int, options: MovieOptions, images: Mapping[str, np.ndarray] = {}):
        self.options, self.seed, self.images = options, seed, images
        rng = Stream.MOVIE.drawn(seed)
        frames, height, width = options.shape
        around = options.margin
        padded = (height + 2 * around, width + 2 * around)
        self._crop = (..., slice(around, -around), slice(around, -around))
        self._scene = some_scene(padded, rng, images, options.groups)
        self._trajectory = Trajectory(padded, frames, rng, options.motion)
        self._strength = bouts(frames, options.calm, Stream.BOUTS.drawn(seed))
        self._swings = np.zeros((frames, 2, 1), np.float32)
        if options.running:
            drawn = swings((frames, height), around, Stream.SWINGS.drawn(seed), self._strength)
            self._swings = options.running * drawn
        self._beats = np.zeros(frames, np.float32), np.zeros((2, 1, 1), np.float32)
        if options.beat:
            self._beats = beats(padded, frames, options.beat, Stream.BEATS.drawn(seed), options.motion)
        self._activity = np.clip(smooth_series(options.groups, frames, rng, 5.0) - 1, 0, None)
        self._brightness = brightness(frames, options.bleach, options.flicker, Stream.LIGHT.drawn(seed))
        self._pattern = self._drawn_pattern(Stream.PATTERN.drawn(seed)) if options.pattern else 0.0

    @property
    def reference(self) -> np.ndarray:
        """The resting scene, unmoved and without noise, in counts: (H, W) float32."""
        return self.options.gain * self.options.photons * self._scene[0][self._crop] + self.options.offset

    def still(self, t: int) -> np.ndarray:
        """What frame t would show had nothing moved and were there no noise, (H, W) photons."""
        return self.options.photons * self._light(t)[self._crop]

    def _light(self, t: int) -> np.ndarray:
        shown = self._scene[0] + np.tensordot(self._activity[:, t], self._scene[1:], 1)
        return self._brightness[t] * shown

    def _drawn_pattern(self, rng: np.random.Generator) -> np.ndarray:
        """What the detector adds to every frame, (H, W) photons: stripes along both axes, and hot pixels."""
        still = self.options.photons * self._scene[0][self._crop]
        seen, spread = still.copy(), still.std()
        for axis in (0, 1):
            add_stripes(seen, axis, self.options.pattern * spread, rng)
        add_hot_pixels(seen, spread, rng)
        return seen - still

    def moved(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """What frame t would show without noise, photons (H, W), and its true backward field (2, H, W) px."""
        pulse, bend = self._beats
        truth = self._strength[t] * self._trajectory.field(t) + self._swings[t][:, :, None] + pulse[t] * bend
        light, backward = torch.from_numpy(self._light(t))[None, None], torch.from_numpy(truth)[None]
        moved = warp(light, self._inverse(backward), mode="bicubic")[0, 0].numpy()
        back = moved[self._crop[1]][1::2]
        back[:] = np.roll(back, self.options.row_offset, axis=1)  # within the margin
        return moved[self._crop] * self.options.photons, truth[self._crop]

    def _inverse(self, backward: torch.Tensor) -> torch.Tensor:
        """What moves a scene (1, 2, H, W), for a field that brings it back.

        Raises NrcorrectError if there is none, as places would be folded over others.
        """
        around = max(self.options.margin - math.ceil(backward.abs().max()), 1)
        seen = slice(around, -around)  # what may get into view
        true = jacobian(backward[0, :, seen, seen].numpy(), 1.0).min() > FLAT
        for iterations in ITERATIONS if true else ():
            inverse = invert(backward, iterations=iterations)
            if (inverse + warp(backward, inverse))[self._crop].abs().max() < TRUE:
                return inverse
        raise NrcorrectError(
            "motion this strong folds the tissue; wanted less (--rows, --amplitude), or a larger --spread"
        )

    def recorded(self, photons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Expected photons (H, W) -> uint16 counts with noise."""
        detected = expose(photons, self.options.read_noise, rng) + self._pattern
        counts = self.options.gain * detected + self.options.offset
        return np.rint(counts).clip(0, 65535).astype(np.uint16)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield a frame, uint16 counts (H, W), and its true backward field (2, H, W) float32 px.

        The field is that of a frame whose rows lie below one another.
        """
        rng = Stream.NOISE.drawn(self.seed)
        for photons, truth in map(self.moved, range(self.options.shape[0])):
            yield self.recorded(photons, rng), truth
