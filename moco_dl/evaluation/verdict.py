"""Can the correction be trusted? An answer in plain words, from measured figures alone.

The thresholds were set on synthetic movies of known motion at 0.5 to 10 photons a pixel and on real recordings
of 64 to 256 px, corrected well, not at all, in part, and wrongly (signs turned, fields of another movie, random
shifts, smoothed instead of corrected).
"""

import math
from dataclasses import dataclass

from moco_dl.evaluation.results import Verdict

STILL = 0.25  # px, motion that cannot be told from none
SHARPER, BLURRED = 1.03, 0.95  # times the raw movie's sharpness: more, less than interpolation and chance do
BLURRED_STILL = 0.93  # the same for movies in which nothing moves, which can only lose
AGREES = 0.003  # of correlation between frames
LESS_MOTION, MORE_MOTION = 0.7, 1.15  # times the raw movie's motion
LEFT = 0.33  # share of the raw movie's motion that may be left
FOLDED, FOLDED_MUCH = 1e-4, 1e-2  # share of folded pixels
FLAGGED = 0.25  # share of flagged frames
COSTLY = 0.98  # times the raw movie's sharpness, from which on a loss is worth telling
FITS_BETTER = 0.1  # of correlation with the reference: all frames were moved onto it
AVERAGED = 0.8  # times the raw movie's ratio of steps, see `Steps`; 0.5 to 0.7 if two or three are averaged
# Right corrections: 0.99 to 1; denoised ones: 0.73 to 1. Frames shuffled, turned round, or replaced by mean and
# noise: 0.33 to 0.65 in movies of 20 frames and more, up to 0.77 in those of 8.
OWN = 0.7
# Right corrections move rows by up to 0.1 px, or make rows that lay 2 px off more alike, by 0.09 and more.
# Wrong offsets make them less alike: those of 1 px by 0.006 to 0.4, of 2 px by 0.01 to 0.6.
MOVED, LESS_ALIKE = 0.5, 0.003
# Right corrections add up to 0.06, where they would overshoot below 0; clipping a tenth at either end, 0.1 to
# 0.24.
CLIPPED = 0.09
SAME_SCENE = 0.5  # correlation of the two mean images, finely aligned
LIKE = 0.25  # that of the corrected one with the reference: own ones 0.9 to 1, of other scenes up to 0.1


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on; NaN where something cannot be measured."""

    sharpness: tuple[float, float]  # 1/px, before and after; see metrics.sharpness
    motion: tuple[float, float]  # px of whole-frame motion, before and after
    fit: tuple[float, float]  # correlation of frames with a reference that was given, else NaN
    agreement: tuple[float, float]  # correlation of frames with the mean of the others
    scene: float  # correlation of the two mean images
    folded: float  # share of pixels
    flagged: float  # share of frames
    reference: float = math.nan  # correlation of the corrected mean image with a reference that was given
    steps: tuple[float, float] = (math.nan, math.nan)  # see `Steps`
    own: float = math.nan  # see `origin.own_shown`
    rows: tuple[float, float, float] = (math.nan,) * 3  # see `Rows.found`
    limits: tuple[float, float] = (math.nan, math.nan)  # share of pixels, before and after; see `Limits`
    rescued: int = 0  # frames that stood out before and fit like the others after

    @property
    def gain(self) -> float:
        """Sharpness after over before."""
        before, after = self.sharpness
        return after / before if before > 0 else math.nan

    @property
    def agrees(self) -> bool:
        """Whether frames agree better than before, or may do: in dim movies, fitting noise raises all else."""
        return not self.agreement[1] - self.agreement[0] < AGREES

    @property
    def combed(self) -> bool:
        """Whether every other row was moved away from those between."""
        moved, before, after = self.rows
        return abs(moved) >= MOVED and after < before - LESS_ALIKE

    @property
    def clipped(self) -> bool:
        """Whether many more pixels lie at the limits of values than before."""
        return self.limits[1] - self.limits[0] > CLIPPED

    @property
    def still(self) -> bool:
        """Whether nothing moves in the raw movie as far as can be told."""
        return self.motion[0] < STILL and not (self.gain > SHARPER and self.agrees)


def judge(evidence: Evidence) -> Verdict:
    """The verdict; see `Verdict` for its kinds."""
    kind, sentence = _judged(evidence)
    doubt = _doubt(evidence) if kind in ("better", "no motion") else ""
    if doubt:
        kind, sentence = "doubtful", f"{sentence[:-1]}, but {doubt}."
    return Verdict(kind, sentence, _figures(evidence))


def _judged(evidence: Evidence) -> tuple[str, str]:
    gain, (before, after) = evidence.gain, evidence.motion
    alone = math.isnan(evidence.agreement[1]) and math.isfinite(sum(evidence.fit))
    if not alone and not math.isfinite(gain + before + after):
        return "doubtful", "Too little can be seen in these movies to tell."
    if evidence.scene < SAME_SCENE:
        return "worse", "The two movies do not show the same scene."
    if evidence.folded > FOLDED_MUCH:
        return "worse", "The fields fold the image over itself, which tissue cannot do."
    if alone:
        return _alone(*evidence.fit)
    return _still(evidence) if evidence.still else _moving(gain, before, after, evidence.agrees)


def _alone(before: float, after: float) -> tuple[str, str]:
    """Of one frame that can be judged: there are no others that it could agree with."""
    if after - before > FITS_BETTER:
        return "better", "The image fits the reference better than before."
    if after < before:
        return "worse", "The image fits the reference worse than before: keep the raw one."
    return "doubtful", "Too little can be seen in these movies to tell."


def _still(evidence: Evidence) -> tuple[str, str]:
    gain, (before, after) = evidence.gain, evidence.motion
    if gain <= BLURRED_STILL or after >= max(STILL, MORE_MOTION * before):
        how = "was blurred" if gain <= BLURRED_STILL else "moves now"
        return "worse", f"Nothing moved in the raw movie, and it {how}: keep the raw one."
    if evidence.fit[1] - evidence.fit[0] > FITS_BETTER:
        return "better", "Frames hardly move against one another, but fit the reference better than before."
    if evidence.rescued:
        return "better", "Most frames do not move; those that stood out before fit like the others now."
    cost = f"; interpolation cost {100 * (1 - gain):.0f} % of its sharpness" if gain < COSTLY else ""
    return "no motion", f"Nothing moves in the raw movie as far as can be told, nor when corrected{cost}."


def _moving(gain: float, before: float, after: float, agrees: bool) -> tuple[str, str]:
    less = after < LESS_MOTION * before and before - after > STILL / 2
    more = after > MORE_MOTION * before and after - before > STILL / 2
    if gain < BLURRED:
        if less:
            return (
                "doubtful",
                f"There is less motion, but the mean image is blurrier than the raw one ({gain:.2f}).",
            )
        return "worse", "The mean image is blurrier than that of the raw movie: keep the raw one."
    if more:
        if gain > SHARPER:
            return "doubtful", "The mean image is sharper, but whole frames move more than before."
        return "worse", "Frames move more than in the raw movie: keep the raw one."
    if gain <= SHARPER and not less:
        return "doubtful", f"Hardly anything changed, though frames move by {before:.1f} px."
    if not agrees:
        return "doubtful", "Shifts were found, but with them frames do not agree better: they may be noise."
    if min(after, before) > max(2 * STILL, LEFT * before):
        return (
            "doubtful",
            f"Better than the raw movie, but {after:.1f} px of motion are left of {before:.1f} px.",
        )
    if gain <= SHARPER:
        return "better", "The corrected movie moves less than the raw one, and is as sharp."
    return "better", f"The corrected movie is sharper{' and moves less' if less else ''} than the raw one."


def _doubt(evidence: Evidence) -> str:
    if evidence.reference < LIKE:
        return "the reference shows another scene: name that, or the fields, of this movie"
    if evidence.steps[1] < AVERAGED * evidence.steps[0]:
        return (
            "frames share their noise with those before, as if averaged over time: that looks sharp and alike"
        )
    if evidence.own < OWN:
        return "frames do not show what their own raw frames do, as if shuffled or replaced"
    if evidence.combed:
        return f"every other row was moved by {abs(evidence.rows[0]):.1f} px, away from those between"
    if evidence.clipped:
        before, after = (100 * share for share in evidence.limits)
        return f"{after:.0f} % of the pixels have the least or the greatest value, raw {before:.0f} %: clipped"
    if evidence.folded > FOLDED:
        return f"the fields fold {100 * evidence.folded:.2f} % of the pixels over others"
    if evidence.flagged > FLAGGED:
        return f"{100 * evidence.flagged:.0f} % of the frames are flagged"
    return ""


def _figures(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    gain = f"{100 * (evidence.gain - 1):+.0f} %" if math.isfinite(evidence.gain) else "unknown"
    before, after = evidence.motion
    motion = f"{before:.2f} → {after:.2f} px" if math.isfinite(before + after) else "unknown"
    others = evidence.agreement
    agreement = f"{others[0]:.3f} → {others[1]:.3f}" if math.isfinite(sum(others)) else "unknown"
    return (
        ("Sharpness of the mean image", gain),
        ("Motion of whole frames", motion),
        ("Agreement of each frame with the others", agreement),
    )
