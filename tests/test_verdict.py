"""The verdict as a function of measured figures; tests/test_judged_movies.py has it judge movies."""

import math
from dataclasses import replace

import pytest

from moco_dl.evaluation.verdict import Evidence, judge

GOOD = Evidence(
    sharpness=(0.30, 0.40),
    motion=(2.0, 0.1),
    fit=(0.5, 0.7),
    agreement=(0.8, 0.9),
    scene=0.98,
    folded=0.0,
    flagged=0.01,
)
STILL = replace(GOOD, sharpness=(0.40, 0.40), motion=(0.1, 0.1), fit=(0.7, 0.7), agreement=(0.9, 0.9))

ALONE = replace(GOOD, sharpness=(math.nan,) * 2, motion=(math.nan,) * 2, agreement=(math.nan,) * 2)


@pytest.mark.parametrize(
    ("measured", "kind", "words"),
    [
        (GOOD, "better", "sharper and moves less"),
        (replace(GOOD, steps=(0.9, 1.0)), "better", "sharper and moves less"),
        (replace(GOOD, steps=(0.9, 0.5)), "doubtful", "but frames share their noise with those before"),
        (replace(GOOD, own=0.99, rows=(2.0, 0.8, 0.9), limits=(0.1, 0.15)), "better", "sharper and moves less"),
        (replace(GOOD, rows=(0.1, 0.9, 0.89)), "better", "sharper and moves less"),
        (replace(GOOD, reference=0.1), "doubtful", "but the reference shows another scene: name that, or"),
        (replace(GOOD, own=0.5), "doubtful", "but frames do not show what their own raw frames do"),
        (replace(GOOD, rows=(-2.0, 0.9, 0.8)), "doubtful", "but every other row was moved by 2.0 px"),
        (
            replace(GOOD, limits=(0.01, 0.4)),
            "doubtful",
            "but 40 % of the pixels have the least or the greatest",
        ),
        (replace(STILL, rows=(1.0, 0.9, 0.8)), "doubtful", "but every other row was moved by 1.0 px"),
        (STILL, "no motion", "Nothing moves"),
        (replace(STILL, sharpness=(0.40, 0.38)), "no motion", "interpolation cost 5 % of its sharpness."),
        (replace(STILL, sharpness=(0.40, 0.30)), "worse", "was blurred"),
        (replace(STILL, motion=(0.1, 0.6)), "worse", "moves now"),
        (replace(STILL, motion=(0.1, 0.6), rescued=2, fit=(0.3, 0.7)), "worse", "moves now"),
        (replace(GOOD, sharpness=(0.40, 0.40)), "better", "moves less than the raw one, and is as sharp"),
        (replace(GOOD, motion=(0.4, 0.35)), "better", "is sharper than the raw one"),
        (replace(STILL, rescued=2), "better", "those that stood out"),
        (replace(STILL, fit=(0.3, 0.7)), "better", "fit the reference better"),
        (replace(STILL, fit=(math.nan, math.nan)), "no motion", "Nothing moves"),
        (replace(GOOD, sharpness=(0.40, 0.30), motion=(2.0, 4.0)), "worse", "blurrier"),
        (replace(GOOD, sharpness=(0.40, 0.40), motion=(2.0, 3.0)), "worse", "move more"),
        (replace(GOOD, sharpness=(0.30, 0.40), motion=(2.0, 3.0)), "doubtful", "sharper, but"),
        (replace(GOOD, sharpness=(0.40, 0.30)), "doubtful", "less motion, but"),
        (replace(GOOD, sharpness=(0.40, 0.40), motion=(2.0, 2.0)), "doubtful", "Hardly anything changed"),
        (replace(GOOD, agreement=(0.4, 0.4)), "doubtful", "they may be noise"),
        (replace(STILL, sharpness=(0.40, 0.43)), "no motion", "Nothing moves"),  # of noise
        (replace(GOOD, motion=(2.0, 1.2)), "doubtful", "1.2 px of motion are left of 2.0 px"),
        (replace(GOOD, scene=0.1), "worse", "do not show the same scene"),
        (replace(ALONE, fit=(0.5, 0.9)), "better", "The image fits the reference better"),
        (replace(ALONE, fit=(0.9, 0.5)), "worse", "fits the reference worse"),
        (replace(ALONE, fit=(0.5, 0.52)), "doubtful", "Too little can be seen"),
        (replace(ALONE, fit=(math.nan, math.nan)), "doubtful", "Too little can be seen"),
        (replace(ALONE, folded=0.05), "worse", "fold"),
        (replace(ALONE, scene=0.1), "worse", "do not show the same scene"),
        # What is little more by chance is no reason, nor is motion that was there before.
        (replace(GOOD, motion=(0.26, 0.34)), "better", "sharper"),
        (replace(GOOD, motion=(0.49, 0.55)), "better", "sharper"),
        (replace(STILL, motion=(0.24, 0.26)), "no motion", "Nothing moves"),
        (replace(GOOD, sharpness=(0.40, 0.40), motion=(0.26, 0.16)), "doubtful", "Hardly anything changed"),
        (replace(GOOD, sharpness=(0.40, 0.40), motion=(4.0, 3.5)), "doubtful", "Hardly anything changed"),
        (replace(GOOD, rows=(2.0, 0.900, 0.899)), "better", "sharper"),
        (replace(GOOD, rows=(2.0, 0.900, 0.890)), "doubtful", "every other row"),
        (replace(GOOD, folded=0.05), "worse", "fold"),
        (replace(GOOD, folded=0.002), "doubtful", "fold 0.20 %"),
        (replace(GOOD, flagged=0.4), "doubtful", "40 % of the frames are flagged"),
        (replace(STILL, flagged=0.4), "doubtful", "40 % of the frames are flagged"),
        (replace(GOOD, sharpness=(math.nan, 0.4)), "doubtful", "Too little can be seen"),
        (replace(GOOD, motion=(math.nan, math.nan)), "doubtful", "Too little can be seen"),
    ],
)
def test_kinds(measured, kind, words):
    verdict = judge(measured)
    assert verdict.kind == kind and words in verdict.sentence
    assert verdict.sentence.endswith(".") and ".," not in verdict.sentence


def test_three_figures_carry_it():
    figures = dict(judge(GOOD).figures)
    assert list(figures.values()) == ["+33 %", "2.00 → 0.10 px", "0.800 → 0.900"]
    nothing = judge(replace(GOOD, sharpness=(math.nan,) * 2, motion=(math.nan,) * 2, agreement=(math.nan,) * 2))
    assert [value for _, value in nothing.figures] == ["unknown"] * 3
