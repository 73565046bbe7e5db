"""The size of a pixel, from one TIFF to the next."""

import numpy as np
import pytest
import tifffile
from commands import run

from moco_dl.movie import open_movie

FRAMES = np.random.default_rng(0).poisson(50, (4, 32, 48)).astype(np.uint16)


def imagej(unit):
    return {"imagej": True, "resolution": (2.0, 4.0), "metadata": {"unit": unit, "axes": "TYX"}}


def ome(**sizes):
    return {"ome": True, "metadata": {"axes": "TYX", **sizes}}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (imagej("um"), (0.25, 0.5)),
        (imagej("\\u00B5m"), (0.25, 0.5)),
        (imagej("mm"), (250, 500)),
        (imagej("pixel"), None),
        (imagej("furlong"), None),
        (ome(PhysicalSizeX=0.5, PhysicalSizeY=0.25), (0.25, 0.5)),
        (
            ome(PhysicalSizeX=500, PhysicalSizeXUnit="nm", PhysicalSizeY=0.25, PhysicalSizeYUnit="µm"),
            (0.25, 0.5),
        ),
        (ome(PhysicalSizeX=0.5), None),
        (ome(), None),
        ({"resolution": (20000, 40000), "resolutionunit": "CENTIMETER"}, (0.25, 0.5)),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, (25400 / 72, 25400 / 72)),
        ({"resolution": (0, 40000), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (20000, 4e8), "resolutionunit": "CENTIMETER"}, None),  # less than a nanometre
        (ome(PhysicalSizeX=0.5, PhysicalSizeY=1e7), None),
        ({}, None),
    ],
)
def test_what_a_file_says(tmp_path, how, expected):
    tifffile.imwrite(tmp_path / "m.tif", FRAMES, **{"photometric": "minisblack"} | how)
    movie = open_movie(tmp_path / "m.tif")
    assert movie.pixel == (None if expected is None else pytest.approx(expected, rel=1e-5))
    movie.close()


def test_the_corrected_movie_says_it_too(tmp_path):
    for number in range(2):
        tifffile.imwrite(tmp_path / f"m_{number}.tif", FRAMES, **imagej("um"))
    run("correct", tmp_path / "m_0.tif", tmp_path / "m_1.tif", "--join", "-o", tmp_path / "joined.tif")
    run("correct", tmp_path / "m_0.tif", "-o", tmp_path / "c.tif")
    run("apply", tmp_path / "m_0.tif", tmp_path / "c_fields.h5", "-o", tmp_path / "a.tif")
    for name in ("joined", "c", "a"):
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as file:
            page = file.pages.first
            assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
            assert page.get_resolution("MICROMETER") == pytest.approx((2.0, 4.0))
    run("correct", tmp_path / "m_0.tif", "-o", tmp_path / "d.h5")
    run("correct", tmp_path / "d.h5", "-o", tmp_path / "again.tif")
    with tifffile.TiffFile(tmp_path / "again.tif") as file:
        assert file.pages.first.tags["ResolutionUnit"].value == tifffile.RESUNIT.NONE
