"""NAME_motion.csv: one line a frame, for spreadsheets and pipelines; much as the Allen Institute's."""

import csv
from pathlib import Path

import numpy as np

from moco_dl.evaluation.results import Traces

COLUMNS = (
    "frame",
    "dy_px",
    "dx_px",
    "nonrigid_mean_px",
    "nonrigid_max_px",
    "correlation_before",
    "correlation_after",
    "flags",
)


def write_motion_table(path: Path, traces: Traces) -> None:
    """Write the traces of a movie: a header, then a line a frame, numbered from 0.

    Displacements are in px and backward, as in the field file; what is not known is left empty; several flags
    are parted by semicolons.
    """
    empty = np.full(len(traces.flags), np.nan)
    rigid = np.stack([empty, empty], axis=1) if traces.rigid is None else traces.rigid
    columns = [rigid[:, 0], rigid[:, 1]]
    columns += [empty if part is None else part for part in (traces.nonrigid_mean, traces.nonrigid_max)]
    columns += [traces.correlation_before, traces.correlation_after]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for t, words in enumerate(traces.flags):
            writer.writerow([t, *(_number(column[t]) for column in columns), ";".join(words)])


def _number(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else ""
