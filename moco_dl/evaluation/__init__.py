"""How good a correction is: both movies in, batch by batch; figures, flags, pictures and a verdict out.

`results` says what is known in the end; its classes are named here. `evaluator` sees the frames: `watch` notes
a few numbers of each, `tally` sums images at the `moments` chosen. `metrics` and `residual` hold the measures;
`measure` takes them, `table` shows and `verdict` judges; `motion_table` and `summary` write for spreadsheets
and programs. `pair` is the way in for two movies, whoever corrected one of them; `truth` compares fields with
those of synthetic movies.
"""

from moco_dl.evaluation.results import Evaluation, Pictures, Row, Samples, Traces, Verdict

__all__ = ["Evaluation", "Pictures", "Row", "Samples", "Traces", "Verdict"]
