"""How far the ranker's calibrated probabilities are from what they say, on routed traffic. Pure."""

from dataclasses import dataclass

import numpy as np

from offline.calibration import Samples, reliability
from offline.evaluation.table import Table
from offline.statistics import Bools, Estimate, Floats, bootstrap

BINS = 15
ESTIMATOR = (
    f"expected calibration error with {BINS} bins of equal weight (adaptive calibration error), pairs of video and "
    "issue that the ranker was asked about, weighted to traffic"
)


@dataclass(frozen=True)
class Calibration:
    """Reliability of the served probabilities.

    Attributes:
        pairs: that were judged.
        positives: of them that are violations.
        error: in [0, 1], by ESTIMATOR; the interval is biased upwards as the estimator is.
        floor: what ESTIMATOR gives on average for probabilities that are exactly right, with as many pairs.
        predicted, observed, share: of each bin.
    """

    pairs: int
    positives: int
    error: Estimate
    floor: float
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    share: tuple[float, ...]


def calibration(table: Table, *, rounds: int) -> Calibration | None:
    """Of all pairs that the ranker judged; None where there are none. Intervals are by drawing videos anew."""
    if not table.asked.any():
        return None
    routed = table.take(np.flatnonzero(table.routed))
    probability, samples = _pairs(routed, routed.asked)
    found = reliability(probability, samples, bins=BINS)

    def error(index: np.ndarray) -> float:
        part = routed.take(index)
        return reliability(*_pairs(part, part.asked), bins=BINS, rounds=1).error

    return Calibration(
        pairs=len(samples),
        positives=int(samples.labels.sum()),
        error=bootstrap(error, routed.strata, rounds=rounds),
        floor=found.floor,
        predicted=tuple(map(float, found.predicted)),
        observed=tuple(map(float, found.observed)),
        share=tuple(map(float, found.share)),
    )


def _pairs(table: Table, asked: Bools) -> tuple[Floats, Samples]:
    video, issue = np.nonzero(asked)
    probability = table.probability[video, issue]
    samples = Samples(probability, table.truth[video, issue], table.weight[video], np.array(table.issues)[issue])
    return probability, samples
