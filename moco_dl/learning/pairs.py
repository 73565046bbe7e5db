"""Pairs of a reference and a moving frame with a known field: scenes, activity, motion and noise put together.

A pair needs no inverse of its field f: the reference is the scene pulled through f, the moving frame is
the scene itself plus activity and noise, so that `frame[y + dy, x + dx]` shows what the reference shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from moco_dl.learning.motion import MotionOptions, draw_field
from moco_dl.learning.scenes import (
    add_hot_pixels,
    add_stripes,
    expose,
    refuse_far,
    scene_margin,
    smooth_noise,
    some_scene,
)
from moco_dl.learning.streams import Stream
from moco_dl.warp import warp

POOL = 320  # scenes in memory


@dataclass(frozen=True)
class PairOptions:
    """What pairs look like; ranges are drawn from log-uniformly."""

    size: int = 128  # px; crops have this area and sides from 3/4 to 4/3 of it
    photons: tuple[float, float] = (0.3, 60.0)  # mean per pixel of the moving frame, before cells flash
    reference_gain: tuple[float, float] = (5.0, 300.0)  # how many frames' light the reference holds
    read_noise: float = 0.5  # photons, largest standard deviation
    activity: float = 1.8  # largest log-normal spread of the groups' brightness
    blur: float = 1.2  # px, largest blur that averaging moving frames leaves on the reference
    defects: float = 0.15  # share of the frames with each kind of detector defect
    missing: int = 16  # px, widest strip the rigid shift has left without data
    motion: MotionOptions = field(default_factory=MotionOptions)

    def __post_init__(self) -> None:
        refuse_far(self.farthest, self.size)

    @property
    def farthest(self) -> float:
        """Pixels that tissue moves by; whole frames hardly ever by more than four standard deviations."""
        return self.motion.amplitude + self.motion.rows + 2 * self.motion.rigid

    @property
    def margin(self) -> int:
        """Pixels of scene around a crop."""
        return scene_margin(self.farthest)

    @property
    def scene_size(self) -> int:
        return int(self.size * 4 / 3) // 8 * 8 + 2 * self.margin


def pair_options(*, photons: float | None = None, size: int | None = None, **motion: object) -> PairOptions:
    """PairOptions of a size, px, one light level, photons, and `motion` (see MotionOptions); None: default."""
    chosen = {"size": size, "photons": photons and (photons, photons)}
    chosen = {name: value for name, value in chosen.items() if value}
    return PairOptions(**chosen, motion=PairOptions().motion.changed(motion))


@dataclass(frozen=True)
class Pairs:
    """A batch: images `(B, H, W)` in photons, NaN where the frame has no data; flow `(B, 2, H, W)` px."""

    reference: torch.Tensor
    frame: torch.Tensor
    flow: torch.Tensor


class ScenePool:
    """Scenes by number, drawn when first asked for; those drawn first leave when there are more than POOL."""

    def __init__(self, seed: int, size: int, images: Mapping[str, np.ndarray] = {}):
        """Scenes are made of `images` (H, W), by name, if there are any; else they are invented."""
        self.seed, self.size, self.images = seed, size, images
        self._scenes: dict[int, np.ndarray] = {}

    def __getitem__(self, number: int) -> np.ndarray:
        if number not in self._scenes:
            rng = Stream.SCENES.drawn(self.seed, number)
            self._scenes[number] = some_scene((self.size, self.size), rng, self.images).astype(np.float16)
            if len(self._scenes) > POOL:
                del self._scenes[next(iter(self._scenes))]
        return self._scenes[number].astype(np.float32)


def draw_pairs(
    scenes: ScenePool,
    index: int,
    count: int,
    options: PairOptions,
    *,
    brighter: float = 1.0,
    square: bool = False,
) -> Pairs:
    """Batch number `index` of an endless, reproducible sequence of batches of `count` pairs.

    Scenes come from a window of the pool that moves on by one scene every four batches. `brighter`
    multiplies the frame's photons (the training curriculum). Sides vary from batch to batch unless `square`.
    """
    rng = Stream.PAIRS.drawn(scenes.seed, index)
    height = int(options.size * rng.uniform(0.75, 4 / 3)) // 8 * 8
    width = min(options.size**2 // height // 8 * 8, scenes.size - 2 * options.margin)
    shape = (options.size, options.size) if square else (height, width)
    pairs = [
        _draw_pair(scenes[index // 4 + int(rng.integers(256))], shape, rng, options, brighter)
        for _ in range(count)
    ]
    return Pairs(*(torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True)))


def _draw_pair(
    scene: np.ndarray, shape: tuple[int, int], rng: np.random.Generator, options: PairOptions, brighter: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """reference (H, W), frame (H, W), flow (2, H, W), all float32."""
    inner = slice(options.margin, -options.margin)
    padded = tuple(n + 2 * options.margin for n in shape)
    scene = _flip(scene, rng)
    y, x = (int(rng.integers(0, have - want + 1)) for have, want in zip(scene.shape[1:], padded, strict=True))
    scene = scene[:, y : y + padded[0], x : x + padded[1]]
    flow = draw_field(padded, rng, options.motion)
    still = scene[0] + np.tensordot(_activity(len(scene) - 1, 0.3, rng), scene[1:], 1)
    moving = scene[0] + np.tensordot(_activity(len(scene) - 1, options.activity, rng), scene[1:], 1)
    moving = moving * (1 + 0.2 * rng.random() * smooth_noise(padded, 40.0, rng)).clip(0.3)
    pulled = warp(torch.from_numpy(still)[None, None], torch.from_numpy(flow)[None], mode="bicubic")
    averaged = gaussian_filter(pulled[0, 0].numpy(), options.blur * rng.random())
    crop = (..., inner, inner)
    reference, frame = _expose_pair(averaged[crop], moving[crop], rng, options, brighter)
    _degrade(frame, rng, options.defects)
    _drop_strips(frame, rng, options.missing)
    return reference, frame, np.ascontiguousarray(flow[crop])


def _flip(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    scene = scene[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    return np.ascontiguousarray(scene.swapaxes(1, 2) if rng.random() < 0.5 else scene)


def _activity(groups: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness of each group: most are quiet, some flash."""
    return (rng.lognormal(0, spread * rng.random(), groups) * (rng.random(groups) < 0.4)).astype(np.float32)


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _expose_pair(
    still: np.ndarray, moving: np.ndarray, rng: np.random.Generator, options: PairOptions, brighter: float
) -> tuple[np.ndarray, np.ndarray]:
    photons = _log_uniform(options.photons, rng) * brighter
    gain, read_noise = _log_uniform(options.reference_gain, rng), options.read_noise * rng.random()
    reference = expose(still * photons * gain, read_noise * gain**0.5, rng) / gain
    return reference, expose(moving * photons, read_noise, rng)


def _degrade(frame: np.ndarray, rng: np.random.Generator, share: float) -> None:
    """What detectors do, each in a `share` of the draws: stripes along an axis, hot pixels, saturation."""
    spread = frame.std()
    for axis in (0, 1):
        if rng.random() < share:
            add_stripes(frame, axis, 0.7 * rng.random() ** 2 * spread, rng)
    if rng.random() < share:
        add_hot_pixels(frame, spread, rng)
    if rng.random() < share:
        np.minimum(frame, np.quantile(frame, rng.uniform(0.8, 1)), out=frame)


def _drop_strips(frame: np.ndarray, rng: np.random.Generator, widest: int) -> None:
    """Blank the strips that a whole-pixel shift leaves empty, in half of the draws."""
    if rng.random() < 0.5:
        return
    for image in (frame, frame.T):
        width = int(rng.integers(0, widest + 1))
        if width:
            image[slice(0, width) if rng.random() < 0.5 else slice(-width, None)] = np.nan
