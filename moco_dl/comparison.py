"""Two movie files, before and after; whoever corrected them: open, check, stream, write what was found."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from moco_dl.errors import NrcorrectError
from moco_dl.evaluation import Evaluation
from moco_dl.evaluation.motion_table import write_motion_table
from moco_dl.evaluation.pair import Pair, checked_pair, evaluator_of
from moco_dl.evaluation.summary import as_json
from moco_dl.evaluation.truth import Truth, load_truth, score, truth_files
from moco_dl.fields import load_fields
from moco_dl.image import load_image
from moco_dl.movie import WHOLE, Progress, Selection
from moco_dl.output import refuse_ending
from moco_dl.recording import open_recording
from moco_dl.staging import refuse_inputs, staged

PAGES = (".html", ".htm")


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where the results go; None: not known, not wanted."""

    raw: Path
    corrected: Path
    fields: Path | None = None
    reference: Path | None = None
    truth: Path | None = None
    more: tuple[Path, ...] = ()  # files in which the raw movie goes on
    selections: tuple[Selection, Selection] = (WHOLE, WHOLE)  # of the files that are the movies
    page: Path | None = None
    picture: Path | None = None
    summary: Path | None = None  # JSON
    table: Path | None = None  # CSV
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.truth is not None and self.fields is None:
            raise NrcorrectError("--truth is compared with fields; name them with --fields")
        if self.page is not None:
            refuse_ending(self.page, PAGES, otherwise=": the page, and --png adds its figure")
        inputs = [self.raw, *self.more, self.corrected, self.fields, self.reference]
        inputs += [] if self.truth is None else truth_files(self.truth)
        refuse_inputs(self.outputs, (path for path in inputs if path is not None))
        if len({os.path.realpath(path) for path in self.outputs}) < len(self.outputs):
            raise NrcorrectError("two outputs have the same name; choose another")

    @property
    def outputs(self) -> list[Path]:
        paths = (self.page, self.picture, self.summary, self.table)
        return [path for path in paths if path is not None]


def compare_files(
    comparison: Comparison, progress: Progress, *, threads: int | None = None, **provenance: object
) -> Evaluation:
    """Evaluate a corrected movie beside its raw one and write the outputs.

    Raises NrcorrectError and leaves no output behind if the movies differ in size, or fields, reference or
    truth do not belong to them.
    """
    with ExitStack() as files:
        pair, truth, inputs = _open(comparison, files)
        refuse_inputs(comparison.outputs, pair.raw.files | pair.corrected.files)
        parts = files.enter_context(staged(comparison.outputs, overwrite=comparison.overwrite))
        evaluator = evaluator_of(pair, progress, threads)
        about = {"inputs": inputs} | _provenance(comparison, pair, truth) | provenance
        more = score(pair.fields.__getitem__, truth) if truth else ()
        evaluation = evaluator.finish(about, more)
        _write(comparison, evaluation, dict(zip(comparison.outputs, parts, strict=True)))
    return evaluation


def _write(comparison: Comparison, evaluation: Evaluation, staged_at: dict[Path, Path]) -> None:
    if comparison.page is not None:
        from moco_dl.report import write_page

        write_page(evaluation, staged_at[comparison.page], staged_at.get(comparison.picture))
    if comparison.summary is not None:
        staged_at[comparison.summary].write_text(as_json(evaluation), encoding="utf-8")
    if comparison.table is not None:
        write_motion_table(staged_at[comparison.table], evaluation.traces)


def _open(comparison: Comparison, files: ExitStack) -> tuple[Pair, Truth | None, list[dict]]:
    """What is compared, and what identifies the movies."""
    paths = (comparison.raw, comparison.corrected)
    recordings = zip(((paths[0], *comparison.more), paths[1:]), comparison.selections, strict=True)
    fields = None if comparison.fields is None else load_fields(comparison.fields)
    image = None if comparison.reference is None else load_image(comparison.reference)
    alone = fields is not None or image is not None  # one image may be compared with another
    opened = [files.enter_context(open_recording(*each, image=alone)) for each in recordings]
    movies, inputs = zip(*opened, strict=True)
    truth = None if comparison.truth is None else load_truth(comparison.truth, movies[0].shape)
    raw, corrected = (
        path if selection.dataset is None else f"{path}: {selection.dataset}"
        for path, selection in zip(paths, comparison.selections, strict=True)
    )
    names = (raw, corrected, comparison.fields)
    return checked_pair(movies, fields, image, names), truth, list(inputs)


def _provenance(comparison: Comparison, pair: Pair, truth: Truth | None) -> dict:
    from moco_dl import __version__

    about = {"version": __version__}
    for name in ("fields", "reference", "truth"):
        path = getattr(comparison, name)
        if path is not None:
            about[name] = path.name
    if pair.fields is not None:
        made = pair.fields.metadata
        about["options"], about["weights_sha256"] = made.get("options"), made.get("weights_sha256")
    if truth is not None:
        about["photons"] = truth.photons
    return about
