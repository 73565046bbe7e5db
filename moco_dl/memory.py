"""How many frames memory has room for."""

from moco_dl.movie import Movie

SAMPLED = 25 * 2**20  # pixels of frames that are sampled of any movie: 60 to 200 frames
TOGETHER = 4 * 2**20  # bytes of frames that a thread computes at a time
LONG = 2  # times as many: how long a movie is from which on more of it are sampled


def frames_in(room: int, movie: Movie, least: int, most: int) -> int:
    """How many frames of `movie` so many bytes hold, from `least` to `most`."""
    return frames_with(room // movie.dtype.itemsize, movie, least, most)


def frames_with(pixels: int, movie: Movie, least: int, most: int) -> int:
    """How many frames of `movie` have so many pixels, of whatever type, from `least` to `most`."""
    return min(most, max(least, pixels // (movie.shape[1] * movie.shape[2])))


def frames_together(movie: Movie) -> int:
    """How many frames of `movie` a thread of a CPU computes at a time, unless it is told: 4 to 32."""
    return frames_in(TOGETHER, movie, 4, 32)


def frames_sampled(movie: Movie) -> int:
    """How many frames stand for a movie: up to twice as many for long ones, which they delay less.

    But not if all must be kept in memory.
    """
    count = frames_with(SAMPLED, movie, 60, 200)
    return min(max(count, movie.shape[0] // LONG), 2 * count) if movie.frames_apart else count
