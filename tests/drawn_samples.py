"""Samples that are all frames of a small movie."""

import numpy as np

from moco_dl.sampled.samples import Samples


def samples_of(frames, run=10, motion=None, pattern=None):
    """In runs of so many frames."""
    numbers = np.arange(len(frames))
    return Samples(frames, numbers, numbers // run, numbers, motion, pattern)


def still(frames, run=1):
    """The same, with whole-frame shifts of zero."""
    return samples_of(frames, run, np.zeros((len(frames), 2, 1, 1), np.float32))
