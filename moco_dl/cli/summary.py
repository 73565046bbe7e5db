"""What is told of a corrected movie, in a line."""

import numpy as np

from moco_dl.evaluation.flags import IMPLAUSIBLE
from moco_dl.job import UNJUDGED, Outcome
from moco_dl.sampled.walk import LOST

UNLIKE = 0.3  # correlation of a given reference with the movie: less, and it may be of another field of view


def summary(outcome: Outcome) -> str:
    """How far frames moved, and what the user should know or do."""
    count, shifts = len(outcome.rigid), outcome.rigid
    mistaken = [frame for frame, words in enumerate(outcome.flags) if IMPLAUSIBLE in words]
    if len(mistaken) < count:
        shifts = np.delete(shifts, mistaken, axis=0)
    parts = [f"{count} frame{'s' * (count > 1)}, rigid shifts up to {abs(shifts).max():.1f} px"]
    if outcome.row_offset:
        parts[0] += f", every other row {outcome.row_offset:+d} px"
    if outcome.left_out:
        why = "it stays in place: a mask, what is dark around the view, a scale bar, specks"
        share = f"{outcome.left_out:.0%}" if outcome.left_out >= 0.01 else "less than 1%"
        parts[0] += f", {share} of the frame left out ({why})"
    parts += outcome.notes
    if flagged := sum(map(bool, outcome.flags)):
        where = UNJUDGED if outcome.listed is None else f"flagged: see {outcome.listed.name}"
        parts.append(f"{flagged} frame{'s' * (flagged > 1)} {where}")
    if outcome.verdict is not None:
        parts.append(f"{outcome.verdict.kind}: {outcome.verdict.sentence}")
    if outcome.likeness is not None and outcome.likeness < UNLIKE:
        parts.append(
            f"the reference is hardly like the movie (correlation {outcome.likeness:.2f}):"
            " is it of this field of view, and the same way up?"
        )
    elif outcome.off > LOST:
        parts.append(
            f"too dim, may be off by about {outcome.off:.1f} px: average neighbouring frames first;"
            " or it moves farther than --max-shift"
        )
    if outcome.kinds > 1:
        parts.append(
            f"frames of {outcome.kinds} kinds take turns: if they are channels or planes, choose one, such as"
            f" --channel 1/{outcome.kinds}"
        )
    return "; ".join(parts)
