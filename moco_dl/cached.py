"""Results that an object keeps for as long as it is there."""

from collections.abc import Callable
from functools import lru_cache
from weakref import WeakMethod


def cached(method: Callable, most: int) -> Callable:
    """The `method` of an object, which remembers the last `most` results; the object may keep it.

    An object that keeps a method bound to itself would stay, with all its arrays, until garbage is collected.
    """
    found = WeakMethod(method)
    return lru_cache(maxsize=most)(lambda *arguments: found()(*arguments))
