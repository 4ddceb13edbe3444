"""Candidates for thresholds: each issue's own cut at a common recall, shaped on one part of the sample. Pure."""

import numpy as np

from offline.statistics import Floats
from offline.tuning.judged import Judged, Thresholds

LEAST_TO_SHAPE = 20
"""Violations of an issue below which it takes the thresholds of all together."""
ROUTED = REVIEWED = (0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0)
"""Recalls of a stage, on the part that shapes thresholds, that are tried."""
BLOCKED = (0.2, 0.4, 0.6, 0.8)
"""Shares of the violations that reach review of which so many are blocked."""
STEPS = 10_000
"""Thresholds are multiples of one in so many: what is tested is what a policy file says."""


def shaped(judged: Judged, routed: float, reviewed: float, blocked: float | None = None) -> Thresholds:
    """Thresholds by which each issue reaches these recalls in traffic, each among what the stage before let through.

    Args:
        judged: the part of the sample that shapes.
        routed: share of an issue's violations that the router is to escalate.
        reviewed: share of those that the ranker is to find.
        blocked: share of those that are to be blocked; None shapes no threshold of block.
    """
    router, review, block = np.empty((3, len(judged.issues)))
    everywhere = np.broadcast_to(judged.weight[:, None], judged.truth.shape)
    for issue in range(len(judged.issues)):
        own = judged.truth & (np.arange(len(judged.issues)) == issue)
        if own.sum() < LEAST_TO_SHAPE:
            own = judged.truth
        risk, probability, weight = judged.risk[own], judged.probability[own], everywhere[own]
        router[issue] = cut(risk, routed, weight)
        reached = risk >= router[issue]
        review[issue] = cut(probability[reached], reviewed, weight[reached])
        found = reached & (probability >= review[issue])
        block[issue] = cut(probability[found], 1.0 if blocked is None else blocked, weight[found])
    return Thresholds(router, review, None if blocked is None else block)


def cut(values: Floats, recall: float, weight: Floats) -> float:
    """The highest multiple of 1 / STEPS that values of at least this share of the weight reach; 0 without values.

    Args:
        values: in [0, 1], [n].
        recall: the share, in (0, 1].
        weight: of each value, [n], positive.
    """
    if not len(values):
        return 0.0
    order = np.argsort(-values, kind="stable")
    reached = np.cumsum(weight[order])
    enough = int(np.searchsorted(reached, (recall - 1e-9) * reached[-1]))
    lowest = float(values[order[min(enough, len(values) - 1)]])
    below = np.floor(lowest * STEPS) / STEPS
    return float(round(below if below <= lowest else below - 1 / STEPS, 4))
