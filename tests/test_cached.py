import gc
import weakref

from moco_dl.cached import cached


class Doubler:
    def __init__(self):
        self.asked = []
        self.double = cached(self._double, 2)

    def _double(self, number):
        self.asked.append(number)
        return 2 * number


def test_the_last_results_are_remembered():
    doubler = Doubler()
    assert [doubler.double(number) for number in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert doubler.asked == [1, 2, 3, 2]
    doubler.double.cache_clear()
    assert doubler.double(1) == 2 and doubler.asked == [1, 2, 3, 2, 1]


def test_an_object_goes_as_soon_as_nothing_holds_it():
    doubler = Doubler()
    assert doubler.double(4) == 8
    there = weakref.ref(doubler)
    gc.disable()
    try:
        del doubler
        assert there() is None
    finally:
        gc.enable()
