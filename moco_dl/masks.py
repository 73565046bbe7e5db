"""Places of an image, (h, w) bool: what lies near them, and what hangs together with them."""

from collections.abc import Iterator

import numpy as np


def distance(these: np.ndarray, most: int) -> np.ndarray:
    """(h, w) pixels from each place to the nearest of `these` (h, w) bool; `most` + 1 if there are more.

    Every other step may go along a diagonal: that is as far as along a line, but for some hundredths.
    """
    found = np.where(these, 0, most + 1)
    for step in range(1, most + 1):
        tall = these.copy()
        tall[1:] |= these[:-1]
        tall[:-1] |= these[1:]
        beside, these = (these, tall) if step % 2 else (tall.copy(), tall)
        these[:, 1:] |= beside[:, :-1]
        these[:, :-1] |= beside[:, 1:]
        found[these] = np.minimum(found[these], step)
    return found


def within(these: np.ndarray, most: int) -> np.ndarray:
    """(h, w) bool: what is no more than so many pixels away from `these`, see `distance`."""
    return distance(these, most) <= most


def at_border(these: np.ndarray) -> np.ndarray:
    """What of `these` (h, w) bool lies at the border, or hangs together with such places."""
    found = np.zeros_like(these)
    found[[0, -1]], found[:, [0, -1]] = these[[0, -1]], these[:, [0, -1]]
    return spread(found, these)


def spread(found: np.ndarray, these: np.ndarray) -> np.ndarray:
    """What of `these` (h, w) bool is `found` or hangs together with it, also diagonally; in place."""
    count = -1
    while count != (count := np.count_nonzero(found)):
        for one, other in (found[1:], found[:-1]), (found[:, 1:], found[:, :-1]):
            one |= other
            other |= one
        found &= these
    return found


def pieces(these: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places (rows, columns) of each of those parts of `these` (h, w) bool that hang together, also diagonally.

    Every place learns the first one that it hangs together with: the lower of its own and its neighbours'.
    """
    rows, columns = np.nonzero(these)
    first = every = np.arange(len(rows))
    number = np.full(np.add(these.shape, 2), -1)
    number[rows + 1, columns + 1] = every
    beside = np.stack([number[rows + y, columns + x] for y, x in ((1, 2), (2, 0), (2, 1), (2, 2))])
    one, other = np.broadcast_to(every, beside.shape)[beside >= 0], beside[beside >= 0]
    before = None
    while not np.array_equal(first, before):
        before, first = first, first.copy()
        lower = np.minimum(before[one], before[other])
        np.minimum.at(first, before[one], lower)
        np.minimum.at(first, before[other], lower)
        first = first[first]  # which may have learned of another meanwhile
    order = np.argsort(first, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(first[order])) + 1) if len(order) else ():
        yield rows[part], columns[part]
