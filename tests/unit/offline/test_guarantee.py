"""Thresholds with a guarantee: what is promised, that it is kept, and a plain no where it cannot be."""

from dataclasses import replace

import numpy as np
import pytest

from offline.tuning.guarantee import LEARN, LEAST_PER_ISSUE, guarantee
from offline.tuning.judged import Judged, Thresholds
from offline.tuning.outcome import Promise, Tuned, bound_of
from offline.tuning.sample import in_proportion
from offline.tuning.shapes import cut, shaped
from tests.unit.offline.populations import ISSUES, drawn, population

WHOLE = population(4000, 10_000, 20_000)
GOOD = population(4000, 10_000, 20_000, apart=5.5)
PROMISE = Promise(recall=0.9, pass_rate=0.2)


def truth_of(found: Thresholds, judged: Judged) -> dict[str, float]:
    """The figures on a whole population."""
    right = (found.found(judged) & judged.truth).any(axis=1)
    rates = {"recall": float(right[judged.violating].mean())}
    for i, issue in enumerate(judged.issues):
        rates[f"recall of {issue}"] = float(found.found(judged)[judged.truth[:, i], i].mean())
    rates["pass rate"] = float(np.average(found.passed(judged), weights=judged.weight))
    return rates


def keeps(found: Tuned, promise: Promise, whole: Judged = WHOLE) -> bool:
    """Whether all that was promised holds; a no promises nothing."""
    if found.thresholds is None:
        return True
    rates = truth_of(found.thresholds, whole)
    recalls = [rates[each.name] for each in found.promised if each.name != "pass rate"]
    return min(recalls) >= promise.recall and rates["pass rate"] <= promise.pass_rate


def test_shaped_thresholds_reach_their_recalls_on_the_sample_itself() -> None:
    found = shaped(WHOLE, 0.9, 0.95)
    assert found.block is None
    for i in range(len(ISSUES)):
        own = WHOLE.truth[:, i]
        escalated = WHOLE.risk[own, i] >= found.router[i]
        assert escalated.mean() == pytest.approx(0.9, abs=1 / own.sum())
        acted = WHOLE.probability[own, i][escalated] >= found.review[i]
        assert acted.mean() == pytest.approx(0.95, abs=2 / own.sum())


def test_an_issue_of_few_violations_takes_the_thresholds_of_all() -> None:
    few = population(4 * 10, 100, 100)
    found = shaped(few, 0.9, 0.9)
    assert len(set(found.router)) == 1


def test_a_promise_is_given_where_the_models_are_good_and_the_sample_is_large() -> None:
    found = guarantee(drawn(GOOD, 1600, 4000, 8000, seed=1), PROMISE)
    assert found.thresholds is not None
    names = [each.name for each in found.promised]
    assert names == ["recall", *(f"recall of {issue}" for issue in ISSUES), "pass rate"]
    assert found.promised[0].count == pytest.approx((1 - LEARN) * 1600, abs=16)
    assert all(each.missing <= 0 for each in found.promised)
    assert keeps(found, PROMISE, GOOD)


def test_promises_are_kept_on_the_population() -> None:
    found = [guarantee(drawn(WHOLE, 800, 2000, 4000, seed=seed), PROMISE, seed=seed) for seed in range(8)]
    given = [each for each in found if each.thresholds is not None]
    assert len(given) >= 2
    # Of eight one may fail; that two do has a chance of one in eighteen if each fails in one of twenty.
    assert sum(keeps(each, PROMISE) for each in given) >= len(given) - 2


def test_an_issue_with_too_few_violations_has_no_promise_of_its_own() -> None:
    found = guarantee(drawn(WHOLE, 4 * (LEAST_PER_ISSUE - 30), 400, 800, seed=3), PROMISE)
    assert [each.name for each in found.promised] == ["recall", "pass rate"]


def test_a_plain_no_where_the_models_do_not_reach_it() -> None:
    weak = population(1600, 4000, 8000, apart=2.0)
    found = guarantee(weak, PROMISE)
    assert found.thresholds is None
    assert "no thresholds keep the promise" in found.reason
    assert "the models do not reach it" in found.reason


def test_a_plain_no_where_the_sample_is_too_small_to_be_sure() -> None:
    found = guarantee(drawn(WHOLE, 40, 400, 800, seed=4), PROMISE)
    assert found.thresholds is None
    assert "label more violations" in found.reason


def test_fewer_false_alarms_where_less_is_promised() -> None:
    sample = drawn(WHOLE, 1600, 4000, 8000, seed=5)
    strict, loose = guarantee(sample, PROMISE), guarantee(sample, Promise(recall=0.7, pass_rate=0.2))
    assert strict.thresholds is not None
    assert loose.thresholds is not None
    clean = ~WHOLE.truth.any(axis=1)
    alarms = [each.thresholds.found(WHOLE)[clean].any(axis=1).mean() for each in (strict, loose) if each.thresholds]
    assert alarms[1] < alarms[0]


def test_weights_decide_what_the_pass_rate_is() -> None:
    sample = drawn(WHOLE, 1600, 4000, 8000, seed=6)
    heavy = np.where(sample.kind == "violation", 50.0, 1.0) * sample.weight
    found = guarantee(replace(sample, weight=heavy), PROMISE)
    # A third of that traffic violates: no router passes a fifth of it and finds nine tenths of them.
    assert found.thresholds is None


@pytest.mark.parametrize("violations", [0, 40])
def test_one_class_alone_is_refused(violations: int) -> None:
    sample = drawn(WHOLE, 40, 40, 40, seed=7)
    kept = np.flatnonzero((sample.kind == "violation") == bool(violations))
    with pytest.raises(ValueError, match="violations and clean videos"):
        guarantee(sample.at(kept), PROMISE)


def test_rows_that_count_for_one_figure_are_different_videos() -> None:
    """A video that violates two issues counts once for recall: its rows would not be independent."""
    sample = drawn(WHOLE, 400, 400, 800, seed=8)
    both = sample.truth | np.roll(sample.truth, 1, axis=1)
    found = guarantee(replace(sample, truth=both), Promise(0.5, 0.5))
    overall, *_, passing = found.promised
    assert overall.count == pytest.approx((1 - LEARN) * 400, abs=8)
    assert passing.count == pytest.approx((1 - LEARN) * 1000, abs=20)


def test_a_violation_that_weighs_more_counts_more() -> None:
    """Half of the violations are never found; where they stand for most of the traffic no recall can be promised."""
    sample = drawn(GOOD, 3200, 4000, 8000, seed=9)
    lost = (np.arange(len(sample)) % 8 < 4) & (sample.kind == "violation")
    risk = np.where(lost[:, None], 0.0, sample.risk)
    kind = np.where(lost, "lost", sample.kind)
    light = replace(sample, risk=risk, kind=kind, weight=np.where(lost, 0.05, 1.0) * sample.weight)
    heavy = replace(light, weight=np.where(lost, 20.0, 1.0) * sample.weight)
    promise = Promise(0.8, 0.3)
    few = guarantee(light, promise)
    many = guarantee(heavy, promise)
    assert few.thresholds is not None, "the lost ones are a twentieth of the violating traffic"
    assert few.promised[0].value > 0.85
    assert many.thresholds is None
    assert many.promised[0].value < 0.5 or many.promised[-1].value > 0.3


def test_the_precision_of_block_is_that_of_traffic() -> None:
    sample = drawn(population(4000, 4000, 20_000, apart=7.0), 1600, 2000, 8000, seed=10)
    found = guarantee(sample, Promise(0.8, 0.2, 0.95, 0.5))
    assert found.thresholds is not None
    assert found.thresholds.block is not None
    assert (found.thresholds.block >= found.thresholds.review).all()
    precision = found.promised[-1]
    assert precision.name == "precision of block"
    # Violations are one in a hundred of traffic: so few of those blocked can be counted.
    assert 5 <= precision.count <= 100


def test_siblings_that_are_asked_can_be_found() -> None:
    risk = np.array([[0.9, 0.1], [0.1, 0.9]])
    judged = Judged(
        ("a", "b"), risk, np.full((2, 2), 0.9), np.ones((2, 2), bool), np.ones(2), np.array(["x", "x"]),
        np.array([[True, True], [False, True]]),
    )  # fmt: skip
    thresholds = Thresholds(np.full(2, 0.5), np.full(2, 0.5))
    assert thresholds.found(judged).tolist() == [[True, True], [False, True]]
    assert thresholds.found(replace(judged, asks=None)).tolist() == [[True, False], [False, True]]


def test_thresholds_are_what_a_policy_file_can_say() -> None:
    values = np.array([0.12345, 0.3, 0.7, 0.99999])
    even = np.ones(4)
    assert [cut(values, share, even) for share in (1.0, 0.75, 0.5, 0.25)] == [0.1234, 0.3, 0.7, 0.9999]
    assert cut(np.array([]), 0.9, np.array([])) == 0.0


def test_a_cut_counts_traffic_not_videos() -> None:
    values = np.array([0.8, 0.6, 0.4, 0.2])
    assert cut(values, 0.9, np.array([1.0, 1.0, 1.0, 0.1])) == 0.4
    assert cut(values, 0.9, np.array([1.0, 0.1, 0.1, 9.0])) == 0.2


def test_limits_are_those_of_clopper_and_pearson() -> None:
    # With no miss among n, the limit is the n-th root of one minus the confidence.
    assert bound_of("recall", 30, 30, 0.9, 0.95, least=True).limit == pytest.approx(0.05 ** (1 / 30))
    assert bound_of("pass rate", 0, 30, 0.1, 0.95, least=False).limit == pytest.approx(1 - 0.05 ** (1 / 30))
    assert bound_of("recall", 0, 0, 0.9, 0.95, least=True).missing == pytest.approx(0.9)


def test_a_sample_in_proportion_has_the_shares_of_traffic() -> None:
    kind = np.repeat(["v", "l", "o"], [80, 60, 400])
    weight = np.repeat([0.01 / 80, 0.19 / 60, 0.8 / 400], [80, 60, 400])
    sizes, violations = [], []
    for seed in range(300):
        chosen = in_proportion(kind, weight, np.random.default_rng(seed))
        assert len(set(chosen)) == len(chosen)
        sizes.append(len(chosen))
        violations.append(np.mean(kind[chosen] == "v"))
    assert set(sizes) == {sizes[0]}
    assert sizes[0] >= 300  # look-alikes allow 60 / 0.19 = 315
    # Rounding down would lose violations, and all of them pass.
    assert np.mean(violations) == pytest.approx(0.01, abs=0.0004)


def test_weights_of_single_videos_are_refused() -> None:
    with pytest.raises(ValueError, match="few strata"):
        in_proportion(np.full(200, "x"), np.linspace(1, 2, 200), np.random.default_rng(0))
