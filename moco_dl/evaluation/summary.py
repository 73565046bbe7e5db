"""An evaluation as JSON with stable keys, numbers as numbers, null for what is not known."""

import json
import math
from collections import Counter

from moco_dl.evaluation.results import Evaluation

FORMAT = "nrcorrect-evaluation-1"


def summary(evaluation: Evaluation) -> dict:
    """Everything but the pictures and the value of each frame, as a JSON-like dictionary."""
    flags = evaluation.traces.flags
    return {
        "format": FORMAT,
        "frames": evaluation.shape[0],
        "height": evaluation.shape[1],
        "width": evaluation.shape[2],
        "verdict": {"kind": evaluation.verdict.kind, "sentence": evaluation.verdict.sentence},
        "metrics": {
            row.key: {
                "before": _finite(row.before),
                "after": _finite(row.after),
                "unit": row.unit,
                "better": row.better,
            }
            for row in evaluation.table
        },
        "flags": dict(sorted(Counter(word for words in flags for word in words).items())),
        "flagged_frames": [t for t, words in enumerate(flags) if words],
        "provenance": evaluation.provenance,
    }


def as_json(evaluation: Evaluation) -> str:
    """The summary as text, the same for the same evaluation; file names that are not text lose what is none."""
    text = json.dumps(summary(evaluation), indent=2, ensure_ascii=False, allow_nan=False, default=str)
    return text.encode("utf-8", "replace").decode("utf-8") + "\n"


def _finite(value: float | None) -> float | None:
    """Six digits: the last ones depend on how a linear-algebra library adds up."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
