"""Weighted measures with bootstrap intervals. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap percentile interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def roc_auc(score: Floats, positive: Bools, weight: Floats) -> float:
    """Weighted probability that a positive scores above a negative, ties counted half; nan without both classes."""
    order = np.argsort(score, kind="stable")
    score, positive, weight = score[order], positive[order], weight[order]
    up, down = np.where(positive, weight, 0.0), np.where(positive, 0.0, weight)
    if up.sum() == 0 or down.sum() == 0:
        return float("nan")
    _, start = np.unique(score, return_index=True)
    up_at, down_at = np.add.reduceat(up, start), np.add.reduceat(down, start)
    below = np.cumsum(down_at) - down_at
    return float((up_at * (below + down_at / 2)).sum() / (up.sum() * down.sum()))


def pr_auc(score: Floats, positive: Bools, weight: Floats) -> float:
    """Weighted average precision, the area under the precision-recall steps; nan without positives."""
    from sklearn.metrics import average_precision_score

    if not (positive & (weight > 0)).any():
        return float("nan")
    return float(average_precision_score(positive, score, sample_weight=weight))


def max_f1(score: Floats, positive: Bools, weight: Floats) -> float:
    """The highest weighted F1 that any threshold on the score gives; nan without positives."""
    from sklearn.metrics import precision_recall_curve

    if not (positive & (weight > 0)).any():
        return float("nan")
    precision, recall, _ = precision_recall_curve(positive, score, sample_weight=weight)
    both = precision + recall
    return float(np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0).max())


def threshold_at_pass_rate(score: Floats, weight: Floats, rate: float) -> float:
    """The lowest threshold t such that score >= t passes at most `rate` of the weight; inf where none does."""
    order = np.argsort(-score, kind="stable")
    ranked, share = score[order], np.cumsum(weight[order]) / weight.sum()
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # ties pass together or not at all
    allowed = last[share[last] <= rate + 1e-12]
    return float(ranked[allowed[-1]]) if allowed.size else float("inf")


def recall_at_pass_rate(score: Floats, own: Floats, positive: Bools, weight: Floats, rate: float) -> float:
    """Share of the positives' weight whose own score reaches the threshold that passes `rate` of all traffic.

    `score` decides whether a video passes, `own` whether it passes for an issue that it violates.
    """
    threshold = threshold_at_pass_rate(score, weight, rate)
    return float(weight[positive & (own >= threshold)].sum() / weight[positive].sum())


def bootstrap(
    measure: Callable[[npt.NDArray[np.intp]], float], strata: npt.NDArray[np.int_], *, rounds: int = 1000, seed: int = 0
) -> Estimate:
    """Estimate of `measure(indices)`, resampled within the strata; nan where it is not defined."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(strata == s) for s in np.unique(strata)]
    values = [measure(np.concatenate([rng.choice(g, size=len(g)) for g in groups])) for _ in range(rounds)]
    low, high = np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else (np.nan, np.nan)
    return Estimate(measure(np.arange(len(strata))), float(low), float(high))
