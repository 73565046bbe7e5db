"""How good a correction is: both movies in, batch by batch; figures, flags, pictures and a verdict out.

`results` says what is known in the end; its classes are named here. `evaluator` sees the frames: `watch` notes
a few numbers of each and `flags` those that stand out, `tally` sums images at the `moments` chosen, `limits`
and `rows` look for clipped values and moved rows, `gaps` tells what to make of missing ones. `metrics`,
`residual` and `origin` hold the measures; `measure` takes them, `table` shows and `verdict` judges;
`motion_table` and `summary` write for spreadsheets and programs. `pair` is the way in for two movies, whoever
corrected one of them; `truth` compares fields with those of synthetic movies.
"""

from moco_dl.evaluation.results import Evaluation, Excerpts, Pictures, Row, Traces, Verdict

__all__ = ["Evaluation", "Excerpts", "Pictures", "Row", "Traces", "Verdict"]
