"""Assembly: the five methods, their order, and their edges at 0 and 1."""

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.assembly import assemble, bayesian, combine, union
from services.contracts import Assembly, AssemblyMethod

METHODS: tuple[AssemblyMethod, ...] = get_args(AssemblyMethod)
P = st.floats(0.0, 1.0, allow_nan=False) | st.sampled_from([0.0, 1.0, 5e-324, 1.0 - 2**-53])


@pytest.mark.parametrize(
    ("method", "expected"),
    [("original", 0.4), ("union", 0.88), ("maximum", 0.8), ("weighted_sum", 0.7), ("bayesian", 0.32 / 0.44)],
)
def test_methods_by_hand(method: AssemblyMethod, expected: float) -> None:
    assert combine(0.8, 0.4, Assembly(method=method, fine_weight=0.75)) == pytest.approx(expected)


@given(P, P, st.sampled_from(METHODS), P)
def test_every_method_stays_in_range(fine: float, overall: float, method: AssemblyMethod, weight: float) -> None:
    score = combine(fine, overall, Assembly(method=method, fine_weight=weight))
    assert math.isfinite(score)
    assert 0.0 <= score <= 1.0


@given(P, P)
def test_union_is_at_least_maximum(fine: float, overall: float) -> None:
    assert union(fine, overall) >= max(fine, overall) - 1e-15


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_bayesian_adds_log_odds(fine: float, overall: float) -> None:
    def logit(p: float) -> float:
        return math.log(p / (1 - p))

    assert logit(bayesian(fine, overall)) == pytest.approx(logit(fine) + logit(overall), abs=1e-9)


def test_bayesian_at_the_edges() -> None:
    assert bayesian(0.0, 1.0) == 0.5
    assert bayesian(1.0, 1.0) == 1.0
    assert bayesian(0.0, 0.0) == 0.0
    assert bayesian(1.0, 0.3) == 1.0
    assert bayesian(0.5, 0.3) == pytest.approx(0.3)


@given(P, P, P, st.sampled_from(METHODS))
def test_more_evidence_never_lowers_the_score(a: float, b: float, overall: float, method: AssemblyMethod) -> None:
    low, high = sorted((a, b))
    assembly = Assembly(method=method)
    # A contradiction of two certainties is 0.5 by definition, and no limit of its neighbours.
    if method == "bayesian" and {low, high} & {0.0, 1.0} and overall in {0.0, 1.0}:
        return
    assert combine(low, overall, assembly) <= combine(high, overall, assembly) + 1e-12


def test_a_single_answer_is_the_score() -> None:
    assert assemble({"overall": 0.3}, Assembly(method="union")) == 0.3
    assert assemble({"sequential": 0.7}, Assembly()) == 0.7


def test_answers_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot assemble"):
        assemble({}, Assembly())
    with pytest.raises(ValueError, match="cannot assemble"):
        assemble({"sequential": 0.1, "overall": 0.2}, Assembly())
