"""Router thresholds that pass a stated share of traffic, and what they find of the violations. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offline.statistics import Bools, Estimate, Floats, bootstrap, threshold_at_pass_rate
from offline.tuning.judged import Judged
from offline.tuning.policy import rounded_up


@dataclass(frozen=True)
class PassRate:
    """Router thresholds, and what they do to the sample that they were fitted on, with 95 % bootstrap intervals.

    Attributes:
        thresholds: by issue.
        passed: share of traffic that goes to the ranker.
        recall: share of the violating traffic that goes to the ranker for an issue that it violates.
        recall_of: the same of each issue that occurs.
        passed_for: share of traffic that each issue escalates.
    """

    thresholds: dict[str, float]
    passed: Estimate
    recall: Estimate
    recall_of: dict[str, Estimate]
    passed_for: dict[str, float]


def fit_thresholds(
    risk: Floats, weight: Floats, issues: Sequence[str], *, pass_rate: float
) -> tuple[dict[str, float], float]:
    """Thresholds that pass `pass_rate` of traffic in all, each issue the same share, and the pass rate reached.

    The common share is found by bisection: shares of issues overlap, so that it is more than pass_rate / issues. Where
    more than `pass_rate` has the risk 1, the thresholds are 1 and pass all of that. Thresholds are multiples of 0.0001,
    as a policy file has them.

    Args:
        risk: [n, m] in [0, 1].
        weight: how much of traffic each video stands for, [n].
        issues: ids, [m].
        pass_rate: share of traffic, in (0, 1].
    """
    low, high = 0.0, pass_rate
    certain = float(weight[(risk >= 1.0).any(axis=1)].sum() / weight.sum())
    best: tuple[dict[str, float], float] = (dict.fromkeys(issues, 1.0), certain)
    for _ in range(40):
        share = (low + high) / 2
        cuts = [threshold_at_pass_rate(risk[:, i], weight, share) for i in range(len(issues))]
        rounded = np.array([rounded_up(min(cut, 1.0)) for cut in cuts])
        passed = float(weight[(risk >= rounded).any(axis=1)].sum() / weight.sum())
        if passed <= pass_rate:
            low, best = share, ({issue: float(c) for issue, c in zip(issues, rounded, strict=True)}, passed)
        else:
            high = share
    return best


def tune_pass_rate(judged: Judged, pass_rate: float) -> PassRate:
    """Thresholds for a pass rate and their figures on the same sample; figures of few videos are uncertain."""
    thresholds, _ = fit_thresholds(judged.risk, judged.weight, judged.issues, pass_rate=pass_rate)
    cuts = np.array([thresholds[issue] for issue in judged.issues])
    escalated = judged.risk >= cuts
    right = escalated & judged.truth
    _, strata = np.unique(judged.kind, return_inverse=True)

    def share(what: Bools, among: Bools) -> Estimate:
        def measure(index: np.ndarray) -> float:
            weight = judged.weight[index] * among[index]
            return float((weight * what[index]).sum() / weight.sum()) if weight.sum() else float("nan")

        return bootstrap(measure, strata)

    everything = np.ones(len(judged), dtype=bool)
    return PassRate(
        thresholds,
        share(np.asarray(escalated.any(axis=1)), everything),
        share(np.asarray(right.any(axis=1)), judged.violating),
        {
            issue: share(right[:, i], judged.truth[:, i])
            for i, issue in enumerate(judged.issues)
            if judged.truth[:, i].any()
        },
        {issue: float(np.average(escalated[:, i], weights=judged.weight)) for i, issue in enumerate(judged.issues)},
    )
