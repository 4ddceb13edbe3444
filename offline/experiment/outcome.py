"""Action volume and precision of two arms, in all and for each issue, with intervals. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.experiment.design import ARMS, Arm
from offline.statistics import Estimate, Floats

ALL = "all issues"
ROUNDS = 2000
Counts = npt.NDArray[np.int_]


@dataclass(frozen=True)
class Upshot:
    """One upload that was decided.

    Attributes:
        arm: of its user.
        video: which video of the pool it is.
        stratum: the video's kind.
        truth: issues that the video violates.
        actions: issues for which the arm acts on it.
    """

    arm: Arm
    video: int
    stratum: str
    truth: frozenset[str]
    actions: frozenset[str]


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        actions: uploads acted on, control and treatment.
        volume_increase: of the share of uploads acted on, in percent of the control's; nan where that never acts.
        precision: share of the acted on that violate the issue (any issue that is acted on, for ALL), by arm.
        precision_change: treatment less control, in points.
    """

    actions: tuple[int, int]
    volume_increase: Estimate
    precision: tuple[Estimate, Estimate]
    precision_change: Estimate


@dataclass(frozen=True)
class Average:
    """Means over the issues for which a figure is defined, as the last line of the paper's table has them."""

    volume_increase: Estimate
    precision: tuple[Estimate, Estimate]


def outcome(
    upshots: Sequence[Upshot], issues: Sequence[str], *, rounds: int = ROUNDS, seed: int = 0
) -> tuple[dict[str, Line], Average]:
    """A line for each issue and one for ALL, in this order, and the average of the issues.

    Intervals: videos of the pool are drawn anew within their kinds, with all uploads of each, so that a video which was
    uploaded often does not count as many.
    """
    videos = sorted({each.video for each in upshots})
    at = {video: number for number, video in enumerate(videos)}
    stratum = {each.video: each.stratum for each in upshots}
    uploads = np.zeros((len(videos), 2), dtype=np.int_)
    for each in upshots:
        uploads[at[each.video], ARMS.index(each.arm)] += 1
    times = _draws([stratum[video] for video in videos], rounds, seed)
    found, drawn = {}, []
    for name in (*issues, ALL):
        acted, right = np.zeros_like(uploads), np.zeros_like(uploads)
        for each in upshots:
            meant = each.actions if name == ALL else each.actions & {name}
            if meant:
                acted[at[each.video], ARMS.index(each.arm)] += 1
                right[at[each.video], ARMS.index(each.arm)] += bool(meant & each.truth)
        figures = _figures(uploads, acted, right, times)
        increase, control, treatment = (_estimate(each) for each in figures)
        change = _estimate(100 * (figures[2] - figures[1]))
        actions = (int(acted[:, 0].sum()), int(acted[:, 1].sum()))
        found[name] = Line(actions, increase, (control, treatment), change)
        if name != ALL:
            drawn.append(figures)
    increase, control, treatment = (_estimate(_mean([figures[i] for figures in drawn])) for i in range(3))
    return found, Average(increase, (control, treatment))


def _draws(strata: Sequence[str], rounds: int, seed: int) -> Floats:
    """How often each video is drawn in each round, [rounds + 1, videos]; the first row is the sample itself."""
    rng = np.random.default_rng(seed)
    names = np.array(strata)
    times = np.ones((rounds + 1, len(names)))
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        times[1:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=rounds)
    return times


def _figures(uploads: Counts, acted: Counts, right: Counts, times: Floats) -> tuple[Floats, Floats, Floats]:
    """Volume increase in percent and precision of both arms in every round, [rounds + 1] each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = (times @ acted) / (times @ uploads)
        precision = (times @ right) / (times @ acted)
        return 100 * (rate[:, 1] / rate[:, 0] - 1), precision[:, 0], precision[:, 1]


def _mean(figures: Sequence[Floats]) -> Floats:
    """Round by round over the issues whose figure is defined in the sample; those that a round lacks are left out."""
    kept = np.array([each for each in figures if np.isfinite(each[0])])
    if not kept.size:
        return np.full(1, np.nan)
    there = np.isfinite(kept)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, kept, 0.0).sum(axis=0) / there.sum(axis=0))


def _estimate(values: Floats) -> Estimate:
    """Of the sample in the first place and the rounds behind it; rounds where it is not defined are left out."""
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not drawn.size:
        return Estimate(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(float(values[0]), float(low), float(high))
