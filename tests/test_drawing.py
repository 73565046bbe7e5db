"""What a report is drawn of: lines, ticks, flags, arrows, colours, small pictures."""

import base64
import re
from importlib.resources import files

import imagecodecs
import numpy as np
import pytest

from moco_dl.report import arrows, chart, raster, timeline


def test_bins_leave_out_what_is_not_finite():
    values = np.arange(5000.0)
    values[:5] = np.nan
    values[7] = np.inf
    trace = chart.bin_trace(values)
    assert np.isnan(trace.low[0]) and (trace.low[1], trace.high[1], trace.mean[1]) == (5, 9, 7)
    assert not trace.exact and chart.bin_trace(values[:100]).exact


def test_line_breaks_where_there_is_no_value():
    values = np.array([0.0, 1.0, np.nan, 0.5, np.nan])
    assert chart.line(values, 0.0, 1.0) == "M100.0,1000L300.0,0M700.0,500h0"


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(-7.4, 5.2, [-5, 0, 5]), (0.1, 0.93, [0.2, 0.4, 0.6, 0.8]), (0, 1, [0, 0.5, 1]), (3, 3, [3])],
)
def test_ticks_are_round_numbers(low, high, wanted):
    np.testing.assert_allclose(chart.ticks(low, high), wanted)


def test_axis_of_a_still_movie_is_not_blown_up():
    low, high = chart.limits([np.full(10, 0.01), np.full(10, -0.01)], least=1.0)
    assert high - low == pytest.approx(1.0)


def test_flags_of_neighbours_are_told_together():
    flags = ((), ("empty",), ("empty",), ("empty", "low"), (), ("low",))
    runs = timeline.flag_runs(flags)
    assert [(run.first, run.last, run.words) for run in runs] == [
        (1, 2, "empty"),
        (3, 3, "empty, low"),
        (5, 5, "low"),
    ]


def test_arrow_points_the_way_of_the_field():
    field = np.zeros((2, 3, 3), np.float32)
    field[:, 1, 1] = (2.0, -1.0)  # down and left
    place = arrows.lattice((3, 3), 4.0)
    path = arrows.arrow_path(field, place, 1.5)
    assert path.startswith("M6.0,6.0l-1.5,3.0m") and path.count("M") == 1
    tip, left, back, right = np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)[1:], float)
    np.testing.assert_allclose(left + back, 0, atol=0.01)
    assert left @ tip < 0 and right @ tip < 0 and np.linalg.norm(left) < np.linalg.norm(tip)


@pytest.mark.parametrize("largest", [0.0, 0.3, 2.0, 25.0])
def test_arrows_do_not_reach_far_beyond_their_neighbours(largest):
    times = arrows.magnification(largest, 10.0)
    assert times * largest <= 12 and (largest == 0 or times * largest > 5)


def test_colours_tell_direction_and_length():
    field = np.zeros((2, 1, 5), np.float32)
    field[:, 0] = [[0, 0, 1, 0, np.nan], [0, 1, 0, -1, 0]]
    still, right, down, left, unknown = raster.direction_colours(field, 1.0)[0].astype(int)
    assert still.tolist() == [255, 255, 255] and unknown.tolist() == [128, 128, 128]
    assert right[0] > right[1:].max() and down[1] > down[[0, 2]].max() and left[0] < left[1:].min()


def test_shrinking_leaves_out_what_is_unknown():
    image = np.array([[1.0, 3.0, 5.0], [np.nan, 5.0, np.nan], [7.0, np.nan, np.nan]])
    np.testing.assert_allclose(raster.shrunk(image, 2), [[3.0, 5.0], [7.0, np.nan]])
    assert raster.shrunk(image, 3) is image


def test_contact_sheet_holds_its_cells():
    cells = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    sheet, columns = raster.contact_sheet(cells)
    assert columns == 3 and sheet.shape == (4, 9)
    for i, cell in enumerate(cells):
        row, column = divmod(i, columns)
        np.testing.assert_array_equal(sheet[2 * row : 2 * row + 2, 3 * column : 3 * column + 3], cell)


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    values = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return float(
        np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        @ [0.2126, 0.7152, 0.0722]
    )


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_stands_out(theme):
    style = (files("moco_dl.report") / "assets" / "report.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", re.findall(r":root \{(.*?)\}", style, re.S)[theme]))
    assert len(colours) > 15
    paper = luminance(colours["paper"])
    for name in colours.keys() - {"paper", "raised", "rule"}:
        dark, light = sorted((luminance(colours[name]), paper))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name


@pytest.mark.parametrize("shape", [(384, 1), (384, 3), (3, 384), (1, 1), (20, 30, 3)])
def test_pictures_of_noise_come_out_whole(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    _, _, encoded = raster.png(pixels).partition("base64,")
    np.testing.assert_array_equal(imagecodecs.png_decode(base64.b64decode(encoded)).reshape(shape), pixels)
