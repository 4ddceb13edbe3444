"""Weighted measures, against scikit-learn and by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from offline.statistics import (
    Estimate,
    bootstrap,
    max_f1,
    pr_auc,
    recall_at_pass_rate,
    roc_auc,
    threshold_at_pass_rate,
)

ONES = np.ones(4)
rows = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.sampled_from([0.1, 0.5, 1.0, 3.0])), min_size=2, max_size=40
)


def columns(drawn: list[tuple[int, bool, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    score, positive, weight = zip(*drawn, strict=True)
    return np.array(score) / 6, np.array(positive), np.array(weight)


@given(rows)
def test_roc_auc_is_that_of_scikit_learn_with_weights_and_ties(drawn: list[tuple[int, bool, float]]) -> None:
    score, positive, weight = columns(drawn)
    assume(positive.any() and not positive.all())
    assert roc_auc(score, positive, weight) == pytest.approx(roc_auc_score(positive, score, sample_weight=weight))


def test_roc_auc_by_hand() -> None:
    positive = np.array([True, True, False, False])
    assert roc_auc(np.array([0.9, 0.8, 0.2, 0.1]), positive, ONES) == 1.0
    assert roc_auc(np.array([0.1, 0.2, 0.8, 0.9]), positive, ONES) == 0.0
    assert roc_auc(np.full(4, 0.5), positive, ONES) == 0.5
    # The positive at 0.3 beats one of two negatives; the other positive beats both.
    assert roc_auc(np.array([0.9, 0.3, 0.5, 0.1]), positive, ONES) == 0.75
    assert roc_auc(np.array([0.9, 0.3, 0.5, 0.1]), positive, np.array([1.0, 1.0, 3.0, 1.0])) == 0.625


def test_roc_auc_needs_both_classes() -> None:
    assert math.isnan(roc_auc(ONES, np.ones(4, dtype=bool), ONES))
    assert math.isnan(roc_auc(np.array([]), np.array([], dtype=bool), np.array([])))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.0, math.inf), (0.09, math.inf), (0.1, 0.9), (0.2, 0.9), (0.3, 0.8), (0.49, 0.8), (0.7, 0.5), (1.0, 0.1)],
)
def test_threshold_at_pass_rate_by_hand(rate: float, expected: float) -> None:
    # Shares of the weight that reach 0.9, 0.8, 0.5, 0.1: 0.1, 0.3, 0.7, 1.0.
    score, weight = np.array([0.5, 0.9, 0.1, 0.8]), np.array([4.0, 1.0, 3.0, 2.0])
    assert threshold_at_pass_rate(score, weight, rate) == expected


def test_ties_pass_together_or_not_at_all() -> None:
    score = np.array([0.9, 0.5, 0.5, 0.1])
    assert threshold_at_pass_rate(score, ONES, 0.5) == 0.9
    assert threshold_at_pass_rate(score, ONES, 0.75) == 0.5


@given(rows, st.floats(0, 1))
def test_the_threshold_is_the_lowest_that_keeps_the_rate(drawn: list[tuple[int, bool, float]], rate: float) -> None:
    score, _, weight = columns(drawn)
    threshold = threshold_at_pass_rate(score, weight, rate)

    def passed(cut: float) -> float:
        return float(weight[score >= cut].sum() / weight.sum())

    assert passed(threshold) <= rate + 1e-9
    lower = [cut for cut in np.unique(score) if cut < threshold]
    assert all(passed(cut) > rate for cut in lower)


def test_recall_at_pass_rate_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    positive = np.array([True, False, True, False, True])
    weight = np.array([1.0, 4.0, 2.0, 2.0, 1.0])
    assert recall_at_pass_rate(score, score, positive, weight, 0.1) == 0.25
    assert recall_at_pass_rate(score, score, positive, weight, 0.7) == 0.75
    assert recall_at_pass_rate(score, score, positive, weight, 1.0) == 1.0


def test_a_violation_that_passes_for_another_issue_alone_is_missed() -> None:
    score, own = np.array([0.9, 0.8, 0.1, 0.1]), np.array([0.9, 0.2, -np.inf, -np.inf])
    positive = np.array([True, True, False, False])
    assert recall_at_pass_rate(score, own, positive, ONES, 0.5) == 0.5


def test_nothing_is_found_where_nothing_may_pass() -> None:
    assert recall_at_pass_rate(ONES, ONES, np.array([True, False, True, False]), ONES, 0.5) == 0.0


def test_a_bootstrap_interval_contains_the_value_and_narrows() -> None:
    values = np.random.default_rng(0).normal(size=2000)

    def estimate(count: int) -> Estimate:
        strata = np.arange(count) % 3
        return bootstrap(lambda k: float(values[k].mean()), strata, rounds=200)

    few, many = estimate(60), estimate(2000)
    for found in (few, many):
        assert found.low < found.value < found.high
    assert few.value == pytest.approx(values[:60].mean())
    # The interval of a mean: 1.96 standard errors to each side.
    assert many.high - many.low == pytest.approx(2 * 1.96 / math.sqrt(2000), rel=0.25)
    assert few.high - few.low > 3 * (many.high - many.low)


def test_the_bootstrap_keeps_the_size_of_every_stratum() -> None:
    strata = np.array([0] * 5 + [2] * 7)
    sizes = set()

    def measure(k: np.ndarray) -> float:
        sizes.add(((strata[k] == 0).sum(), (strata[k] == 2).sum()))
        return float(len(np.unique(k)))

    found = bootstrap(measure, strata, rounds=50)
    assert sizes == {(5, 7)}
    assert found.value == 12
    assert found.high < 12, "it draws with replacement"


def test_average_precision_and_max_f1_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.1])
    positive = np.array([True, False, True, False])
    assert pr_auc(score, positive, np.ones(4)) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert max_f1(score, positive, np.ones(4)) == pytest.approx(0.8)
    # The false alarm stands for three times as much traffic.
    weight = np.array([1.0, 3.0, 1.0, 1.0])
    assert pr_auc(score, positive, weight) == pytest.approx(0.5 * 1 + 0.5 * 2 / 5)
    assert max_f1(score, positive, weight) == pytest.approx(2 / 3)


@pytest.mark.parametrize("measure", [pr_auc, max_f1])
def test_without_positives_there_is_no_precision(measure: Callable[..., float]) -> None:
    score, weight = np.array([0.1, 0.9]), np.array([1.0, 0.0])
    assert math.isnan(measure(score, np.zeros(2, dtype=bool), weight))
    assert math.isnan(measure(score, np.array([False, True]), weight)), "it stands for no traffic"


def test_the_bootstrap_is_deterministic() -> None:
    strata = np.zeros(30, dtype=int)
    assert bootstrap(lambda k: float(k.mean()), strata, rounds=20) == bootstrap(
        lambda k: float(k.mean()), strata, rounds=20
    )


def test_an_estimate_reads_as_value_and_interval() -> None:
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
