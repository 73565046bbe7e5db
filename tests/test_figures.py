import sys

import numpy as np
import pytest
from commands import run

from moco_dl import figures
from moco_dl.report import report_picture


def pixels(path):
    from matplotlib.image import imread

    return imread(path)[..., :3]


def test_overlay_is_yellow_where_images_agree(tmp_path):
    image = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    for frame in (image, np.zeros_like(image)):
        figures.preview(image, frame, np.zeros((1, 2, 64, 64), np.float32), tmp_path / "p.png", "png")
        red, green, blue = pixels(tmp_path / "p.png")[20:200, 40:200].reshape(-1, 3).mean(axis=0)
        assert red > 0.3 and blue < 0.1
        assert (green > 0.9 * red) == (frame is image)


def test_training_log_becomes_a_picture(tmp_path):
    names = ("step", "seconds", "loss", "epe_0.5", "epe_2")
    log = [dict(zip(names, row, strict=True)) for row in ((1, 2, 3.0, 1.0, 0.5), (2, 4, 2.0, 0.8, 0.4))]
    figures.loss_curve(log, tmp_path / "loss.png")
    assert pixels(tmp_path / "loss.png").std() > 0.05


@pytest.mark.parametrize(
    "set_by_user", [{"savefig.transparent": True, "savefig.bbox": "tight"}, {"font.size": 30}]
)
def test_a_picture_does_not_depend_on_what_a_user_has_set(tmp_path, set_by_user, evaluation):
    import matplotlib

    log = [{"step": step, "seconds": 1.0, "loss": 3.0 / step, "epe_2": 0.5} for step in (1, 2)]
    image, flow = np.eye(64, dtype=np.float32)[None], np.zeros((1, 2, 64, 64), np.float32)

    def drawn():
        for draw in (
            lambda path: figures.loss_curve(log, path),
            lambda path: figures.preview(image, image, flow, path, "png"),
            lambda path: report_picture(evaluation, path),
        ):
            draw(tmp_path / "p.png")
            yield (tmp_path / "p.png").read_bytes()

    expected = list(drawn())
    with matplotlib.rc_context(set_by_user):
        assert list(drawn()) == expected


def test_preview_of_a_dataset(tmp_path):
    arguments = "synth", tmp_path / "pairs.h5", "--pairs", 3, "--size", 48, "--preview", tmp_path / "p.png"
    result = run(*arguments)
    assert result.stdout.split() == [str(tmp_path / "pairs.h5"), str(tmp_path / "p.png")]
    assert pixels(tmp_path / "p.png").std() > 0.1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.png", "pairs.h5"]
    assert "exists; choose another output" in run(*arguments, code=1).stderr
    run(*arguments, "--overwrite")


@pytest.mark.parametrize(
    ("name", "message", "code"),
    [("p.doc", "ends in '.doc'; wanted .png, .pdf, .svg", 2), ("taken.png", "exists", 1)],
)
def test_bad_preview_is_told_before_the_work(tmp_path, name, message, code):
    (tmp_path / "taken.png").write_bytes(b"precious")
    result = run("synth", tmp_path / "pairs.h5", "--pairs", 3, "--preview", tmp_path / name, code=code)
    assert message in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["taken.png"]
    assert (tmp_path / "taken.png").read_bytes() == b"precious"


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("synth", tmp_path / "pairs.h5", "--pairs", 3, "--preview", tmp_path / "p.png", code=1)
    assert "pip install matplotlib" in result.stderr
    assert not list(tmp_path.iterdir())
