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
    found = []
    for rows, columns in pieces(these):
        found.append(np.zeros_like(these))
        found[-1][rows, columns] = True
    assert len(found) == count and {piece.tobytes() for piece in found} == wanted


def test_a_long_piece_is_one():
    spiral = np.zeros((41, 41), bool)
    for turn in range(0, 20, 2):  # rings, each open where it goes on inside
        ring = slice(turn, 41 - turn)
        spiral[turn, ring] = spiral[40 - turn, ring] = spiral[ring, 40 - turn] = True
        spiral[turn + 2 : 41 - turn, turn] = True
        spiral[turn + 2, turn + 1] = True
    assert label(spiral, np.ones((3, 3)))[1] == len(list(pieces(spiral))) == 1
