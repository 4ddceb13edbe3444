"""Fitting calibrators: what is recovered, what is chosen, issues with few samples, and the error's noise floor."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from offline.calibration import (
    METHODS,
    Samples,
    applied,
    brier,
    candidates,
    fit_calibrator,
    fit_map,
    fit_maps,
    held_out,
    reliability,
)
from offline.calibration_report import write_report
from services.calibration import BetaMap, FittedFor, IsotonicMap, PlattMap, ScoreMap, TemperatureMap


def drawn(truth: ScoreMap, count: int, *, seed: int = 7, issue: str = "arson", spread: float = 2.0) -> Samples:
    """Scores, and labels with the probabilities that `truth` gives them."""
    rng = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-rng.normal(0.0, spread, count)))
    labels = rng.random(count) < np.array([truth.apply(score) for score in scores])
    return Samples(scores, labels, np.ones(count), np.full(count, issue))


def joined(*parts: Samples) -> Samples:
    columns = ("scores", "labels", "weights", "issues")
    return Samples(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


TRUTHS = (
    TemperatureMap(temperature=2.5),
    TemperatureMap(temperature=0.6),
    PlattMap(slope=0.7, intercept=-2.0),
    BetaMap(a=0.5, b=1.5, c=-1.0),
    IsotonicMap(scores=(0.1, 0.4, 0.5, 0.9), probabilities=(0.05, 0.1, 0.7, 0.75)),
)


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.method)
def test_a_map_of_the_right_kind_recovers_the_truth(truth: ScoreMap) -> None:
    found = fit_map(truth.method, drawn(truth, 40_000))
    assert found.method == truth.method
    grid = np.linspace(0.05, 0.95, 19)
    assert [found.apply(x) for x in grid] == pytest.approx([truth.apply(x) for x in grid], abs=0.04)


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_repetitions(method: str) -> None:
    samples = drawn(TRUTHS[2], 300)
    heavy = Samples(samples.scores, samples.labels, np.where(np.arange(300) < 100, 3.0, 1.0), samples.issues)
    again = np.concatenate([np.arange(300), np.arange(100), np.arange(100)])
    one, other = fit_map(method, heavy), fit_map(method, samples.where(again))  # type: ignore[arg-type]
    grid = np.linspace(0.05, 0.95, 10)
    assert [one.apply(x) for x in grid] == pytest.approx([other.apply(x) for x in grid], abs=5e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_never_falls_even_where_scores_mislead(method: str) -> None:
    samples = drawn(TRUTHS[0], 2000)
    upside_down = Samples(1 - samples.scores, samples.labels, samples.weights, samples.issues)
    found = fit_map(method, upside_down)  # type: ignore[arg-type]
    values = [found.apply(x) for x in np.linspace(0, 1, 50)]
    assert all(a <= b + 1e-12 for a, b in pairwise(values))


def test_one_class_alone_is_refused() -> None:
    samples = drawn(TRUTHS[0], 50)
    with pytest.raises(ValueError, match="violations and clean"):
        fit_map("platt", samples.where(samples.labels))
    with pytest.raises(ValueError, match="too few"):
        candidates(samples.where(np.flatnonzero(samples.labels)[:4]))


@pytest.mark.parametrize("truth", TRUTHS[2:], ids=lambda truth: truth.method)
def test_the_method_with_the_least_held_out_error_is_chosen(truth: ScoreMap) -> None:
    calibrator, compared = fit_calibrator(drawn(truth, 6000), "c", FittedFor())
    assert [each.method for each in compared] == list(METHODS)
    assert calibrator.pooled.method == min(compared, key=lambda each: each.brier).method
    by_method = {each.method: each.brier for each in compared}
    assert by_method[truth.method] < by_method["temperature"]
    assert calibrator.metrics["samples"] == 6000


def test_isotonic_needs_a_thousand_samples() -> None:
    assert "isotonic" not in {each.method for each in candidates(drawn(TRUTHS[4], 900))}


def test_an_issue_of_many_samples_has_its_own_map_and_one_of_few_an_intercept() -> None:
    samples = joined(
        drawn(PlattMap(slope=1.0, intercept=1.5), 2000, issue="many"),
        drawn(PlattMap(slope=0.4, intercept=-1.0), 150, seed=8, issue="few"),
        drawn(PlattMap(slope=0.4, intercept=1.0), 150, seed=9, issue="other"),
        drawn(PlattMap(slope=0.4, intercept=0.0), 3, seed=10, issue="hardly"),
    )
    pooled, own = fit_maps("platt", samples)
    maps = {issue: each for issue, each in own.items() if isinstance(each, PlattMap)}
    assert set(maps) == {"many", "few", "other", "hardly"}
    assert (maps["many"].slope, maps["many"].intercept) == pytest.approx((1.0, 1.5), abs=0.25)
    assert maps["few"].slope == maps["other"].slope == maps["hardly"].slope == pytest.approx(0.4, abs=0.2)
    assert maps["few"].intercept == pytest.approx(-1.0, abs=0.5)
    # What three samples say is hardly believed.
    assert maps["few"].intercept < maps["hardly"].intercept < maps["other"].intercept
    alone = fit_map("platt", samples)
    assert brier(applied(pooled, own, samples), samples) < brier(applied(alone, {}, samples), samples)


def test_the_error_of_right_probabilities_is_the_noise_floor_and_of_wrong_ones_more() -> None:
    samples = drawn(TRUTHS[1], 4000)
    right = np.array([TRUTHS[1].apply(score) for score in samples.scores])
    found = reliability(right, samples)
    assert found.error == pytest.approx(found.floor, abs=0.01)
    assert found.share.sum() == pytest.approx(1.0)
    assert found.share == pytest.approx(np.full(15, 1 / 15), abs=0.01)
    wrong = reliability(np.clip(right + 0.1, 0, 1), samples)
    assert wrong.error > 0.07 > 3 * wrong.floor


def test_equal_probabilities_share_a_bin() -> None:
    samples = drawn(TRUTHS[0], 100)
    found = reliability(np.full(100, 0.5), samples)
    assert found.error == pytest.approx(abs(samples.labels.mean() - 0.5))
    assert found.predicted == pytest.approx([0.5])


def test_beta_maps_have_intercepts_of_issues_too_and_a_temperature_is_one_for_all() -> None:
    samples = joined(
        drawn(BetaMap(a=1.0, b=0.5, c=-1.5), 150, seed=8, issue="low"),
        drawn(BetaMap(a=1.0, b=0.5, c=1.5), 150, seed=9, issue="high"),
    )
    _, own = fit_maps("beta", samples)
    low, high = own["low"], own["high"]
    assert isinstance(low, BetaMap)
    assert isinstance(high, BetaMap)
    assert (low.a, low.b) == (high.a, high.b)
    assert high.c - low.c > 1.5
    assert fit_maps("temperature", samples)[1] == {}


def test_the_report_tells_held_out_reliability_and_its_floor(tmp_path: Path) -> None:
    samples = drawn(TRUTHS[2], 3000)
    calibrator, compared = fit_calibrator(samples, "demo", FittedFor(model="f" * 64))
    written = write_report(calibrator, compared, samples, tmp_path / "results", "winnow x").read_text(encoding="utf-8")
    assert "Synthetic: says nothing about real content." in written
    assert f"{calibrator.pooled.method} (chosen)" in written
    told = json.loads((tmp_path / "results" / "calibration.json").read_text(encoding="utf-8"))
    before, after = told["reliability"]
    assert before["ece"] > 3 * before["floor"]
    assert after["ece"] < 2 * after["floor"]
    assert (tmp_path / "results" / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_held_out_probabilities_are_of_maps_that_did_not_see_the_sample() -> None:
    """A label that contradicts its score moves an isotonic map that has seen it, and none that has not."""
    samples = drawn(TRUTHS[0], 1200)
    least = int(samples.scores.argmin())
    labels = samples.labels.copy()
    labels[least] = True
    odd = Samples(samples.scores, labels, np.where(np.arange(1200) == least, 200.0, 1.0), samples.issues)
    seen = fit_map("isotonic", odd).apply(float(samples.scores[least]))
    assert seen > 0.2 > held_out("isotonic", odd)[least]
