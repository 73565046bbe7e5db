import base64
import json
import re
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from evaluations import PROVENANCE, TABLE, evaluation_of, without_fields

from moco_dl import evaluate
from moco_dl.evaluation import Excerpts, Pictures, Row, Traces, Verdict
from moco_dl.report import chart, report_page, report_picture
from moco_dl.report.pictures import preview
from moco_dl.report.timeline import LISTED_FLAGS

KINDS = ("better", "no motion", "doubtful", "worse")


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def picture_of(page: str, name: str) -> np.ndarray:
    encoded = re.search(rf'id="{name}" href="data:image/png;base64,([^"]+)"', page)[1]

    return imagecodecs.png_decode(base64.b64decode(encoded))


def sections(page: str) -> list[str]:
    return re.findall(r"<section.*?</section>", page, re.S)


def test_page_stands_alone(evaluation):
    page = report_page(evaluation)
    assert page == report_page(evaluation)
    assert not re.search(r"""(src|href)="(?!data:|#)""", page)
    assert not re.search(r"\son[a-z]+=|\sstyle=|@import|url\((?!#)|https?:", page)
    assert "default-src &#39;none&#39;" in page and "unsafe" not in page
    for wanted in (
        evaluation.verdict.sentence,
        "2.71 → 0.08 px",
        "crispness of the mean image",
    ):
        assert wanted in page


def test_names_of_files_cannot_become_markup(evaluation):
    page = report_page(evaluation)
    assert "<movie>" not in page and "&lt;movie&gt; &amp; &#34;friends&#34;.tif" in page
    assert "<b>this</b>" not in page
    flags = (("</script><script>alert(1)</script>",), *evaluation.traces.flags[1:])
    page = report_page(replace(evaluation, traces=replace(evaluation.traces, flags=flags)))
    assert page.count("</script>") == 2
    assert data_of(page)["flags"]["0"] == flags[0][0]
    odd = report_page(replace(evaluation, provenance={"inputs": "a\x01b.tif", "command": "a\x1bb"}))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", odd) and "<h1>a\ufffdb.tif" in odd
    page = report_page(replace(evaluation, provenance={"inputs": "not utf-8 \udcff.tif"}))
    assert "<h1>not utf-8 ?.tif</h1>" in page and page.encode()


@pytest.mark.parametrize("kind", KINDS)
def test_verdict_leads(evaluation, kind):
    page = report_page(replace(evaluation, verdict=Verdict(kind, "Nothing to see.", ())))
    assert f'class="verdict {kind.replace(" ", "-")}"' in page
    assert f"<title>&lt;movie&gt; &amp; &#34;friends&#34;.tif: {kind}</title>" in page


def test_before_and_after_share_black_and_white(evaluation):
    page = report_page(evaluation)
    before, after = (picture_of(page, f"mean-{name}").astype(float) for name in ("before", "after"))
    truth = evaluation.pictures
    inside = (before > 0) & (before < 255) & (after > 0) & (after < 255)
    slopes = [
        np.polyfit(image[inside], shown[inside], 1)
        for image, shown in ((truth.mean_before, before), (truth.mean_after, after))
    ]
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=0.01)


def test_readings_are_the_traces(evaluation):
    data = data_of(report_page(evaluation))
    assert data["frames"] == 40 and data["starts"] == list(range(40))
    assert data["flags"] == {"5": "low correlation", "22": "low correlation", "39": "low correlation"}
    np.testing.assert_allclose(data["curves"]["dy"]["low"], evaluation.traces.rigid[:, 0], rtol=5e-3, atol=1e-6)
    np.testing.assert_allclose(data["curves"]["after"]["low"], evaluation.traces.correlation_after, rtol=5e-3)
    assert [view["frame"] for view in data["fields"]] == evaluation.excerpts.field_frames.tolist()


def test_what_is_not_known_is_said(evaluation):
    page = report_page(without_fields(evaluation))
    assert "No fields are known for this movie, so that shifts cannot be shown." in page
    assert "Whole-frame shift" not in page and "Correlation with the reference" in page
    assert "field file is given" in page
    assert "correlation image" not in page
    assert all(len(re.sub(r"<[^>]*>|\s+", "", section)) > 60 for section in sections(page))


def test_no_fields_and_no_figures(evaluation):
    page = report_page(replace(without_fields(evaluation), table=(), provenance={}))
    assert "Nothing was measured." in page and "<h1>Motion correction</h1>" in page


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shortest_movies(evaluation, count):
    shape = (count, 30, 52)
    rng = np.random.default_rng(0)
    frames = rng.random(shape, np.float32)
    page = report_page(evaluation_of(frames, frames, np.zeros((count, 2, 30, 52), np.float32)))
    assert data_of(page)["frames"] == count
    assert re.search(r'<path class="line" d="M\d', page)


def test_the_reference_lies_under_the_moments_of_flat_frames():
    noise = np.random.default_rng(0).poisson(50, (4, 152, 1100)).astype(np.uint16)
    shown = preview(evaluate(noise, noise).excerpts, noise.shape[1:])
    assert shown.size == (16, 122) and shown.scale == pytest.approx(1 / 9)


def test_nothing_but_nan(evaluation, tmp_path):
    pytest.importorskip("matplotlib")

    def emptied(values):
        return np.full(np.shape(values), np.nan, np.float32)

    traces, pictures, excerpts = evaluation.traces, evaluation.pictures, evaluation.excerpts
    empty = replace(
        evaluation,
        traces=Traces(*(emptied(v) for v in list(vars(traces).values())[:5]), traces.flags),
        pictures=Pictures(*(emptied(v) for v in vars(pictures).values())),
        excerpts=replace(
            excerpts,
            **{
                k: emptied(getattr(excerpts, k))
                for k in ("preview_before", "line_before", "line_after", "fields")
            },
        ),
    )
    page = report_page(empty)
    assert set(data_of(page)["curves"]["dy"]["low"]) == {None}
    report_picture(empty, tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 10_000
    assert not re.search(r"[^a-z]nan[^a-z]", re.sub(r"base64,[^\"]*", "", page), re.I)


def test_long_movie_of_large_frames_makes_a_small_page(evaluation):
    frames, size = 100_000, 2048
    rng = np.random.default_rng(1)
    noise = rng.random((5, size, size), np.float32)
    traces = Traces(
        *rng.random((2, frames), np.float32),
        rng.random((frames, 2), np.float32),
        *rng.random((2, frames), np.float32),
        tuple((f"reason {t % 3}",) if t % 2 else () for t in range(frames)),
    )
    moments = rng.random((60, 256, 256), np.float32)
    lines = rng.random((2000, size), np.float32)
    excerpts = Excerpts(
        preview_frames=np.arange(60),
        preview_before=moments,
        preview_after=moments,
        line=("column", 7),
        line_before=lines,
        line_after=lines,
        field_frames=np.arange(40),
        fields=rng.random((40, 2, 128, 128), np.float32),
        field_step=16.0,
    )
    large = replace(
        evaluation, shape=(frames, size, size), traces=traces, pictures=Pictures(*noise), excerpts=excerpts
    )
    page = report_page(large)
    assert len(page.encode()) < 5_000_000
    together = round(frames / len(data_of(page)["starts"]))
    assert f"the least and greatest value of {together} neighbouring frames" in page
    assert "50000 frames are flagged" in page and f"<li>and {50_000 - LISTED_FLAGS} more</li>" in page
    data = data_of(page)
    assert len(data["starts"]) == chart.BINS and data["starts"][1] == 100
    first = traces.correlation_before[:100]
    curve = data["curves"]["before"]
    np.testing.assert_allclose([curve["low"][0], curve["high"][0]], [first.min(), first.max()], rtol=5e-3)


@pytest.mark.parametrize(
    ("before", "after", "better", "said"),
    [
        (1.0, 2.0, "higher", "better"),
        (1.0, 2.0, "lower", "worse"),
        (1.0, 1.005, "higher", "same"),
        (0.0, 0.0, "lower", "same"),
        (1.0, 2.0, "", ""),
        (None, 2.0, "lower", ""),
    ],
)
def test_change_is_named(evaluation, before, after, better, said):
    page = report_page(replace(evaluation, table=(Row("key", "measure", "px", better, "", before, after),)))
    assert f'<td class="change {said}">{said}</td>' in page


def test_minus_signs_are_not_hyphens(evaluation):
    figures = (("sharpness", "-5 %"), ("range", "t-2 -> -1.5 px"))
    page = report_page(replace(evaluation, verdict=Verdict("worse", "Bad.", figures)))
    assert "<dd>\u22125 %</dd>" in page and "<dd>t-2 -&gt; \u22121.5 px</dd>" in page


def test_table_and_origin_are_all_there(evaluation):
    page = report_page(evaluation)
    for row in TABLE[:3]:
        assert row.label in page and row.note in page
    for text in (PROVENANCE["version"], PROVENANCE["weights_sha256"], "bicubic", "40, 96, 112"):
        assert f"<dd>{text}</dd>" in page
    assert "smooth" not in page.split('<h2 id="origin-title">')[1]
