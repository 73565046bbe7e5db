"""What is told of a corrected movie, in a line."""

import numpy as np

from moco_dl.evaluation.flags import IMPLAUSIBLE
from moco_dl.job import UNJUDGED, Done
from moco_dl.sampled.walk import LOST

UNLIKE = 0.3  # correlation of a given reference with the movie: less, and it may be of another field of view


def summary(done: Done) -> str:
    """How far frames moved, and what the user should know or do."""
    mistaken = [frame for frame, words in enumerate(done.flags) if IMPLAUSIBLE in words]
    moved = done.rigid if len(mistaken) == len(done.rigid) else np.delete(done.rigid, mistaken, axis=0)
    parts = [
        f"{len(done.rigid)} frame{'s' * (len(done.rigid) > 1)}, rigid shifts up to {abs(moved).max():.1f} px"
    ]
    if done.row_offset:
        parts[0] += f", every other row {done.row_offset:+d} px"
    if done.left_out:
        why = "it stays in place: a mask, what is dark around the view, a scale bar, specks"
        share = f"{done.left_out:.0%}" if done.left_out >= 0.01 else "less than 1%"
        parts[0] += f", {share} of the frame left out ({why})"
    parts += done.notes
    if flagged := sum(map(bool, done.flags)):
        where = UNJUDGED if done.listed is None else f"flagged: see {done.listed.name}"
        parts.append(f"{flagged} frame{'s' * (flagged > 1)} {where}")
    if done.verdict is not None:
        parts.append(f"{done.verdict.kind}: {done.verdict.sentence}")
    if done.likeness is not None and done.likeness < UNLIKE:
        parts.append(
            f"the reference is hardly like the movie (correlation {done.likeness:.2f}):"
            " is it of this field of view, and the same way up?"
        )
    elif done.off > LOST:
        parts.append(
            f"too dim, may be off by about {done.off:.1f} px: average neighbouring frames first;"
            " or it moves farther than --max-shift"
        )
    if done.kinds > 1:
        parts.append(
            f"frames of {done.kinds} kinds take turns: if they are channels or planes, choose one, such as"
            f" --channel 1/{done.kinds}"
        )
    return "; ".join(parts)
