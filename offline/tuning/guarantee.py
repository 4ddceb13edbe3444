"""Thresholds with a guarantee, by Learn-then-Test (Angelopoulos et al. 2022) as MAPIE has it.

What is promised: with the stated confidence over the draw of the calibration videos, recall is at least so much and the
pass rate at most so much on the traffic that they were drawn from. docs/decisions/0030 says how weights are treated.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from mapie.risk_control import BinaryClassificationController, BinaryRisk

from offline.statistics import Bools
from offline.tuning.judged import Index, Judged, Thresholds
from offline.tuning.outcome import Bound, Promise, Tuned, bound_of, reason_of
from offline.tuning.sample import halves, in_proportion
from offline.tuning.shapes import BLOCKED, REVIEWED, ROUTED, shaped

LEAST_PER_ISSUE = 100
"""Violations of an issue in the whole sample from which on it has a promise of its own."""
LEARN = 0.35
"""Share of the videos that shape thresholds and order them; the rest tests, where every video counts."""
_PASS, _BLOCK_WRONG, _BLOCK_RIGHT, _ANY, _FIRST_ISSUE = 0, 1, 2, 3, 4
"""Labels of the rows that are tested: what a row counts for."""


@dataclass(frozen=True)
class _Constraint:
    """One thing that is promised: its name, the MAPIE risk, and the level."""

    name: str
    risk: BinaryRisk
    level: float

    def counts(self, labels: npt.NDArray[np.int_], predicted: npt.NDArray[np.int_]) -> tuple[int, int]:
        """How often it happened, and of how many rows."""
        values, rows = self.risk.get_value_and_effective_sample_size(labels, predicted)
        share = 1 - values if self.risk.higher_is_better else values
        return (round(share * rows), rows) if rows > 0 else (0, 0)


def guarantee(judged: Judged, promise: Promise, *, seed: int = 0) -> Tuned:
    """The thresholds with the fewest false alarms among those that keep the promise.

    One part of the videos shapes thresholds and puts them in order, the other tests them in that order (split
    fixed-sequence testing). All that is promised is tested together, so that one confidence covers all of it.

    Args:
        judged: a sample whose strata are each drawn at random from their part of traffic.
        promise: what to keep.
        seed: of the division into parts.

    Raises:
        ValueError: there is nothing to promise about: no violation, or no clean video; or weights that no test can use.
    """
    if not judged.truth.any() or judged.violating.all():
        raise ValueError("thresholds need violations and clean videos")
    learn, test = halves(judged, LEARN, seed)
    blocks = BLOCKED if promise.block_precision is not None else (None,)
    shapes = {key: shaped(judged.at(learn), *key) for key in product(ROUTED, REVIEWED, blocks)}
    rng = np.random.default_rng(seed + 1)
    shaping, testing = _rows(judged, learn, promise, rng), _rows(judged, test, promise, rng)
    constraints = _constraints(judged, promise)
    changing = constraints[-1:] if promise.block_precision is not None else []
    tables = {key: _table(judged, each) for key, each in shapes.items()}
    keys = [
        key
        for key, table in tables.items()
        if all(each.counts(own[:, 1], _predicted(table, own))[1] for each in changing for own in (shaping, testing))
    ]  # of a figure that is not defined MAPIE's p-value is no number, which spoils its order

    def predict(rows: npt.NDArray[np.float64], number: float) -> npt.NDArray[np.int_]:
        return _predicted(tables[keys[int(number)]], rows.astype(np.intp))

    valid = _valid(predict, len(keys), constraints, shaping, testing, promise.confidence) if keys else []

    def bounds(key: tuple[float, float, float | None]) -> tuple[Bound, ...]:
        predicted = _predicted(tables[key], testing)
        return tuple(
            bound_of(each.name, *each.counts(testing[:, 1], predicted), each.level, promise.confidence,
                     least=each.risk.higher_is_better)
            for each in constraints
        )  # fmt: skip

    if valid:
        best = min((keys[number] for number in valid), key=lambda key: _cost(judged.at(learn), shapes[key]))
        return Tuned(shapes[best], bounds(best))
    nearest = min(shapes, key=lambda key: sum(max(0.0, each.missing) for each in bounds(key)))
    return Tuned(None, bounds(nearest), shapes[nearest], reason_of(bounds(nearest), promise.confidence))


def _valid(
    predict: Callable[..., npt.NDArray[np.int_]],
    count: int,
    constraints: Sequence[_Constraint],
    shaping: Index,
    testing: Index,
    confidence: float,
) -> list[int]:
    """Numbers of the thresholds that MAPIE's test accepts."""
    controller = BinaryClassificationController(
        predict, [each.risk for each in constraints], [each.level for each in constraints],
        confidence_level=confidence, list_predict_params=np.arange(count, dtype=np.float64)[:, None],
        fwer_method="split_fixed_sequence",
    )  # fmt: skip
    controller.learn_fixed_sequence_order(
        shaping.astype(np.float64), shaping[:, 1], beta_grid=np.logspace(-25, 0, 100), binary=True
    )
    with warnings.catch_warnings():
        # Of none the outcome says so, and why; that all will do is no fault.
        warnings.filterwarnings("ignore", "No predict parameters were found")
        warnings.filterwarnings("ignore", "All provided predict_params control the risk")
        controller.calibrate(testing.astype(np.float64), testing[:, 1])
    return [int(number) for (number,) in controller.valid_predict_params]


def _constraints(judged: Judged, promise: Promise) -> list[_Constraint]:
    counted = [i for i in range(len(judged.issues)) if judged.truth[:, i].sum() >= LEAST_PER_ISSUE]
    found = [_Constraint("recall", _share_of(_ANY, least=True), promise.recall)]
    found += [
        _Constraint(f"recall of {judged.issues[i]}", _share_of(_FIRST_ISSUE + i, least=True), promise.recall)
        for i in counted
    ]
    found.append(_Constraint("pass rate", _share_of(_PASS, least=False), promise.pass_rate))
    if promise.block_precision is not None:
        found.append(_Constraint("precision of block", _precision(), promise.block_precision))
    return found


def _rows(judged: Judged, part: Index, promise: Promise, rng: np.random.Generator) -> Index:
    """What is tested, [rows, 2]: a video and what it counts for.

    A violating video counts for recall, and for that of each issue it violates; a sample in the proportions of traffic
    counts for the pass rate and for what is blocked. So the rows of one constraint are different videos.
    """

    def sample(members: Index) -> Index:
        return members[in_proportion(judged.kind[members], judged.weight[members], rng)] if len(members) else members

    traffic = sample(part)
    rows = [(traffic, _PASS), (sample(part[judged.violating[part]]), _ANY)]
    rows += [(sample(part[judged.truth[part, i]]), _FIRST_ISSUE + i) for i in range(len(judged.issues))]
    if promise.block_precision is not None:
        right = judged.violating[traffic]
        rows += [(traffic[right], _BLOCK_RIGHT), (traffic[~right], _BLOCK_WRONG)]
    return np.concatenate([np.stack([videos, np.full(len(videos), label)], axis=1) for videos, label in rows])


def _table(judged: Judged, thresholds: Thresholds) -> Bools:
    """What happens to each video by label, [n, labels]."""
    found, blocked = thresholds.found(judged), thresholds.blocked(judged)
    any_found = (found & judged.truth).any(axis=1)
    return np.column_stack([thresholds.passed(judged), blocked, blocked, any_found, found])


def _predicted(table: Bools, rows: Index) -> npt.NDArray[np.int_]:
    return np.asarray(table[rows[:, 0], rows[:, 1]], dtype=np.int_)


def _cost(judged: Judged, thresholds: Thresholds) -> tuple[float, float]:
    """Share of clean traffic that is held back, then how little of the violating is blocked."""
    clean = judged.weight * ~judged.violating
    alarms = clean[thresholds.found(judged).any(axis=1)].sum() / clean.sum()
    blocked = judged.weight[thresholds.blocked(judged) & judged.violating].sum()
    return float(alarms), -float(blocked)


def _share_of(label: int, *, least: bool) -> BinaryRisk:
    return BinaryRisk(
        risk_occurrence=lambda _, predicted: predicted == 1,
        risk_condition=lambda labels, _: labels == label,
        higher_is_better=least,
    )


def _precision() -> BinaryRisk:
    return BinaryRisk(
        risk_occurrence=lambda labels, _: labels == _BLOCK_RIGHT,
        risk_condition=lambda labels, predicted: (predicted == 1) & np.isin(labels, (_BLOCK_WRONG, _BLOCK_RIGHT)),
        higher_is_better=True,
    )
