from dataclasses import replace

import imagecodecs
import pytest
from evaluations import without_fields

from moco_dl.evaluation import Verdict
from moco_dl.report import report_picture


def test_figure_as_a_picture(evaluation, tmp_path):
    pytest.importorskip("matplotlib")
    for number, shown in enumerate((evaluation, without_fields(evaluation))):
        path = tmp_path / f"{number}.png"
        report_picture(shown, path)
        pixels = imagecodecs.png_decode(path.read_bytes())[..., :3]
        assert pixels.shape[1] == 1350 and pixels.std() > 30
        assert (pixels[..., 0].astype(int) - pixels[..., 2] > 100).any()  # the overlay's yellow
    assert path.read_bytes() != (tmp_path / "0.png").read_bytes()


def test_names_in_any_script_are_no_warnings(evaluation, tmp_path, recwarn):
    pytest.importorskip("matplotlib")
    named = replace(evaluation, provenance={"inputs": [{"name": "\u65e5.tif"}]})
    report_picture(named, tmp_path / "p.png")
    assert not [each for each in recwarn if "Glyph" in str(each.message)]


def test_heading_of_the_picture_is_not_cut_off(evaluation):
    pytest.importorskip("matplotlib")
    from moco_dl.report.poster import poster

    figures = tuple((f"a measure with a long name, number {i}", "0.123 → 0.456 px") for i in range(3))
    figure = poster(replace(evaluation, verdict=Verdict("doubtful", "It is long. " * 20, figures)), "$movie$")
    figure.draw_without_rendering()
    heading = figure._suptitle.get_window_extent()
    assert heading.x0 > 0 and heading.x1 < figure.bbox.x1 and heading.y1 <= figure.bbox.y1
