"""Places of an image, and what hangs together with them."""

import numpy as np
import pytest
from scipy.ndimage import label

from moco_dl.masks import pieces


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 1.0])
def test_pieces_are_those_of_another_program(share):
    these = np.random.default_rng(0).random((30, 41)) < share
    labels, count = label(these, np.ones((3, 3)))
    wanted = {(labels == number).tobytes() for number in range(1, count + 1)}
    found = [piece.tobytes() for piece in pieces(these)]
    assert len(found) == count and set(found) == wanted
