"""How samples of a movie are looked at: what compares them with a reference, and moves them onto it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from moco_dl.blocks import binned
from moco_dl.device import full_device
from moco_dl.infer import Estimator, enlarged
from moco_dl.memory import frames_with
from moco_dl.movie import Movie
from moco_dl.moving import move_known
from moco_dl.network import STRIDE, PyramidFlowNet
from moco_dl.options import CorrectOptions
from moco_dl.reference import Estimate, build_reference
from moco_dl.sampled.samples import Move, Samples, chunks

ENOUGH = 16 * 2**20  # pixels of those that the reference is made of: 40 to 100 frames
BINNED = 240  # px, shorter side from which on binned frames show enough


@dataclass(frozen=True)
class View:
    """What looks at a movie."""

    movie: Movie
    options: CorrectOptions
    network: PyramidFlowNet | None  # None: for rigid motion only
    device: torch.device
    mapping: Callable  # `map`, or what does the same with several threads

    @property
    def factor(self) -> int:
        """Pixels a side over which frames are averaged where that shows enough."""
        return 2 if self.network and min(self.movie.shape[1:]) >= BINNED else 1

    @property
    def binning(self) -> int:
        """The same for what the network sees in the end."""
        return self.factor if self.options.quality == "fast" else 1

    def smaller(self, image: np.ndarray) -> np.ndarray:
        """Image (H, W) averaged like the smaller samples."""
        return binned(image[None], self.factor)[0]

    def enlarged(self, motion: np.ndarray) -> np.ndarray:
        """Motion (n, 2, h, w) of smaller samples -> that of the samples."""
        size = tuple(-(-n // STRIDE) for n in self.movie.shape[1:])
        return enlarged(torch.from_numpy(motion), self.factor, size).numpy()

    def enough(self, samples: Samples) -> np.ndarray:
        """(n,) bool: which of the samples a reference is made of."""
        return samples.some(self.options.ref_frames or frames_with(ENOUGH, self.movie, 40, 100))

    def build_reference(
        self, samples: Samples, estimates: Sequence[Estimate], first: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `reference.build_reference`."""
        return build_reference(samples, self.options.ref, estimates, self.move, self.mapping, first=first)

    def build_reference_at(
        self, samples: Samples, motion: np.ndarray, first: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same of samples whose motion (n, 2, h, w) or (n, 2, 1, 1) is known."""
        return self.build_reference(samples, [lambda *_: motion], first)

    @property
    def move(self) -> Move:
        """What moves frames by their motion."""
        return partial(move_known, device=full_device(self.device))

    def rigid_estimator(self, reference: np.ndarray) -> Estimator:
        """What finds whole-frame shifts from a reference, see `estimator`."""
        return self.estimator(reference, rigid=True)

    def estimator(self, reference: np.ndarray, binning: int = 1, *, rigid: bool = False) -> Estimator:
        """What finds motion from a reference, which may have larger pixels than the movie."""
        size = self.movie.shape[1:]
        scale = reference.shape[0] / size[0]
        network = None if rigid else self.network
        return Estimator(
            reference,
            network,
            max_shift=scale * self.options.farthest(size),
            device=self.device,
            binning=binning,
            precision=getattr(torch, self.options.precision),
        )

    def motion(self, samples: Samples, estimator: Estimator, shifts: np.ndarray | None) -> np.ndarray:
        """(n, 2, h, w) of samples, whose `shifts` (n, 2) may be known."""

        def found(some: np.ndarray) -> np.ndarray:
            return estimator(samples[some], shifts=None if shifts is None else shifts[some]).total()

        return np.concatenate(list(self.mapping(found, chunks(np.arange(len(samples))))))
