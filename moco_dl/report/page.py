"""An evaluation as a page: one HTML document that needs nothing else, neither network nor other files."""

import base64
import hashlib
import math
import re
import warnings
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from moco_dl.evaluation import Evaluation, Row
from moco_dl.figures import plain_style
from moco_dl.report.field_views import field_views
from moco_dl.report.pictures import images, kymographs, preview
from moco_dl.report.raster import direction_colours, png
from moco_dl.report.timeline import LISTED_FLAGS, charts, flag_marks, flag_runs, frame_ticks, readings

if TYPE_CHECKING:
    from jinja2 import Template

KINDS = {"better": "Better", "no motion": "No motion", "doubtful": "Doubtful", "worse": "Worse"}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
WHEEL = 96  # px, side of the key to colours
ALIKE = 0.01  # of a value: smaller changes are neither better nor worse
TITLES = {
    "weights_sha256": "weights (SHA-256)",
    "input": "movie",
    "inputs": "movies",
    "sha256": "frames (SHA-256)",
}


def report_page(evaluation: Evaluation) -> str:
    """The report on `evaluation`: an HTML document that opens from disk, below 5 MB whatever the movie.

    It holds its pictures, style and script, and forbids the browser to fetch anything (content security
    policy). The same evaluation gives the same text.
    """
    style, script = _asset("report.css"), _asset("report.js")
    runs = flag_runs(evaluation.traces.flags)
    data = readings(evaluation.traces)
    fields = field_views(evaluation.excerpts)
    moments = preview(evaluation.excerpts, evaluation.shape[1:])
    if fields:
        data["fields"] = [{"frame": view.frame, "words": view.words} for view in fields.views]
    data["moments"] = {"frames": moments.frames, "columns": moments.columns, "size": moments.size}
    page = _template().render(
        style=style,
        script=script,
        policy=_policy(style, script),
        title=_title(evaluation.provenance),
        shape=evaluation.shape,
        verdict=evaluation.verdict,
        figures=[(label, _typeset(value)) for label, value in evaluation.verdict.figures],
        kind=KINDS.get(evaluation.verdict.kind, evaluation.verdict.kind),
        images=images(evaluation.pictures),
        charts=charts(evaluation.traces),
        rigid_known=evaluation.traces.rigid is not None,
        frame_ticks=frame_ticks(evaluation.shape[0]),
        binned=len(data["starts"]) < evaluation.shape[0],
        flag_marks=flag_marks(data["flags"], len(data["starts"])),
        flagged=sum(run.last - run.first + 1 for run in runs),
        runs=runs[:LISTED_FLAGS],
        runs_left_out=max(0, len(runs) - LISTED_FLAGS),
        kymographs=kymographs(evaluation.excerpts),
        fields=fields,
        wheel=_wheel(),
        moments=moments,
        table=[_table_row(row) for row in evaluation.table],
        provenance=list(_flat(evaluation.provenance)),
        data=data,
    )
    return _writable(page)


def report_picture(evaluation: Evaluation, path: Path) -> None:
    """Draw the main figure of the report to `path`, a PNG. Raises NrcorrectError if matplotlib is missing."""
    from moco_dl.report.poster import poster

    with plain_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of names in any script
        poster(evaluation, _title(evaluation.provenance)).savefig(path, format="png", dpi=150)


def write_page(evaluation: Evaluation, page: Path, picture: Path | None) -> None:
    """Write the report to `page` (HTML), and its main figure to `picture` (PNG) if that is wanted."""
    page.write_text(report_page(evaluation), encoding="utf-8")
    if picture is not None:
        report_picture(evaluation, picture)


def _asset(name: str) -> str:
    return (files("moco_dl.report") / "assets" / name).read_text(encoding="utf-8")


def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined  # slow to import; the command line starts without it

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html"))


def _policy(style: str, script: str) -> str:
    """Nothing is fetched, and nothing runs but the page's own style and script."""
    digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script))
    allowed = "; ".join(
        f"{kind}-src 'sha256-{d}'" for kind, d in zip(("style", "script"), digests, strict=True)
    )
    return f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; {allowed}"


def _title(provenance: dict) -> str:
    """The name of the first input, without its folders."""
    inputs = provenance.get("inputs")
    while isinstance(inputs, dict | list | tuple) and inputs:
        inputs = inputs.get("name", next(iter(inputs.values()))) if isinstance(inputs, dict) else inputs[0]
    return _writable(PurePath(inputs).name) if isinstance(inputs, str) and inputs else "Motion correction"


def _writable(text: str) -> str:
    """Without the parts of file names that are not text, and characters that pages may not hold."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.encode("utf-8", "replace").decode("utf-8"))


def _wheel() -> str:
    """All directions and lengths, as `direction_colours` shows them."""
    axis = (np.arange(WHEEL) + 0.5) / WHEEL * 2 - 1
    return png(direction_colours(np.stack(np.meshgrid(axis, axis, indexing="ij")), 1.0))


def _table_row(row: Row) -> dict[str, str]:
    """What the table of metrics says in words and figures."""
    before, after = (_number(value, row.unit) for value in (row.before, row.after))
    change = ""
    if row.better and None not in (row.before, row.after):
        same = math.isclose(row.before, row.after, rel_tol=ALIKE)
        rose = row.after > row.before
        change = "same" if same else "better" if rose == (row.better == "higher") else "worse"
    return {"label": row.label, "note": row.note, "before": before, "after": after, "change": change}


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "\u2013"
    text = f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 1000 else f"{value:.3g}"
    return _typeset(text) + (f"\u00a0{unit}" if unit else "")


def _typeset(text: str) -> str:
    """Minus signs before numbers instead of hyphens."""
    return re.sub(r"(?<![\w-])-(?=[\d.])", "\u2212", text)


def _flat(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The leaves of nested dicts and lists as (label, text); what is None is left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, (*path, TITLES.get(str(key), str(key).replace("_", " "))))
    elif isinstance(value, list | tuple) and any(isinstance(inner, dict | list | tuple) for inner in value):
        for number, inner in enumerate(value, start=1):
            yield from _flat(inner, (*path, str(number)) if len(value) > 1 else path)
    elif value is not None:
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        if isinstance(value, bool):
            text = "yes" if value else "no"
        yield " \u203a ".join(path), text
