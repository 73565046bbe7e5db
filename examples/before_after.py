"""Draw before_after.png: the mean image of a moving synthetic movie, raw and corrected, beside the still scene.

    python before_after.py [PICTURE]

Needs matplotlib.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import moco_dl
from moco_dl.learning.synth import SyntheticMovie, movie_options

SEED, DETAIL = 1, np.s_[48:208, 48:208]


def main(picture: str = "before_after.png") -> None:
    movie = SyntheticMovie(SEED, movie_options(frames=200, size=256, photons=2.0))
    frames = np.stack([frame for frame, _ in movie])
    corrected = moco_dl.correct(frames).corrected
    images = {
        "one frame, 2 photons per pixel": frames[0],
        "mean of the raw movie": frames.mean(0),
        "mean of the corrected movie": corrected.mean(0),
        "the scene without motion": movie.reference,
    }
    figure = Figure(figsize=(12, 3.3), layout="constrained")
    for axes, (title, image) in zip(figure.subplots(1, 4), images.items(), strict=True):
        low, high = np.percentile(movie.reference if image is not frames[0] else image, (0.5, 99.7))
        axes.imshow(image[DETAIL], cmap="gray", vmin=low, vmax=high)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:2])
