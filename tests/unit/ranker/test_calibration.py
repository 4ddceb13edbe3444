"""Calibrators: their maps, artifacts on disk, and what they were fitted for."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import ranker_svc
from services.calibration import (
    BetaMap,
    CalibrationError,
    Calibrator,
    FittedFor,
    IsotonicMap,
    PlattMap,
    ScoreMap,
    TemperatureMap,
    checkpoint_fingerprint,
    load_calibrators,
)
from services.policy import default_policy_path, load_policy

IDENTITY = TemperatureMap(temperature=1.0)


positive = st.floats(0.0, 50.0)
MAPS = st.one_of(
    st.builds(TemperatureMap, temperature=st.floats(0.02, 50.0)),
    st.builds(PlattMap, slope=positive, intercept=st.floats(-20, 20)),
    st.builds(BetaMap, a=positive, b=positive, c=st.floats(-20, 20)),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6, unique_by=lambda knot: knot[0]).map(
        lambda knots: IsotonicMap(
            scores=tuple(sorted(score for score, _ in knots)), probabilities=tuple(sorted(p for _, p in knots))
        )
    ),
)


@given(MAPS, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_maps_keep_the_range_and_the_order(chosen: ScoreMap, one: float, other: float) -> None:
    low, high = chosen.apply(min(one, other)), chosen.apply(max(one, other))
    assert 0.0 <= low <= 1.0
    assert low <= high + 1e-12


@pytest.mark.parametrize(
    ("chosen", "score", "probability"),
    [
        (TemperatureMap(temperature=2.0), 0.9, 0.75),
        (TemperatureMap(temperature=2.0), 0.0, 0.0),
        (TemperatureMap(temperature=2.0), 0.5, 0.5),
        (TemperatureMap(temperature=2.0), 1.0, 1.0),
        (PlattMap(slope=0.5, intercept=0.0), 0.9, 0.75),
        (PlattMap(slope=1.0, intercept=math.log(3)), 0.5, 0.75),
        (BetaMap(a=1.0, b=1.0, c=0.0), 0.8, 0.8),
        (BetaMap(a=2.0, b=0.0, c=math.log(4)), 0.5, 0.5),
        (IsotonicMap(scores=(0.2, 0.6), probabilities=(0.1, 0.5)), 0.4, 0.3),
        (IsotonicMap(scores=(0.2, 0.6), probabilities=(0.1, 0.5)), 0.1, 0.1),
        (IsotonicMap(scores=(0.2, 0.6), probabilities=(0.1, 0.5)), 0.9, 0.5),
    ],
)
def test_maps_by_hand(chosen: ScoreMap, score: float, probability: float) -> None:
    assert chosen.apply(score) == pytest.approx(probability)


@pytest.mark.parametrize(
    ("scores", "probabilities"),
    [((0.2, 0.2), (0.1, 0.2)), ((0.3, 0.2), (0.1, 0.2)), ((0.1, 0.2), (0.3, 0.2)), ((0.1,), ())],
)
def test_a_curve_that_falls_is_refused(scores: tuple[float, ...], probabilities: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="knot"):
        IsotonicMap(scores=scores, probabilities=probabilities)


def test_an_issue_has_its_own_map_or_the_pooled_one() -> None:
    calibrator = Calibrator(id="c", pooled=IDENTITY, issues={"arson": PlattMap(slope=1.0, intercept=math.log(3))})
    assert (calibrator.apply(0.5, "arson"), calibrator.apply(0.5, "drugs")) == (pytest.approx(0.75), 0.5)


def test_mismatch_names_what_differs_and_skips_the_unknown() -> None:
    calibrator = Calibrator(
        id="c", pooled=IDENTITY, fitted_for=FittedFor(model="aa", prompt="P2", frames=8, encoder="ee")
    )
    assert calibrator.mismatch(FittedFor(model="aa", prompt="P2", frames=8, bank_revision="r9")) == []
    (found,) = calibrator.mismatch(FittedFor(model="bb", prompt="P2"))
    assert found == "calibrator `c` was fitted for model aa, not bb"


def test_artifacts_round_trip_through_a_directory(tmp_path: Path) -> None:
    first = Calibrator(id="first", pooled=IDENTITY, fitted_for=FittedFor(prompt="P2"), metrics={"ece": 0.02})
    (tmp_path / "a.json").write_text(first.model_dump_json())
    assert dict(load_calibrators(tmp_path)) == {"first": first}
    assert dict(load_calibrators(tmp_path / "absent")) == {}


def test_unusable_artifacts_are_named(tmp_path: Path) -> None:
    artifact = Calibrator(id="same", pooled=IDENTITY).model_dump_json()
    (tmp_path / "a.json").write_text(artifact)
    (tmp_path / "b.json").write_text(artifact)
    with pytest.raises(CalibrationError, match=r"b\.json.*same"):
        load_calibrators(tmp_path)
    (tmp_path / "b.json").write_text('{"id": "b", "pooled": {"method": "temperature", "temperature": 0}}')
    with pytest.raises(CalibrationError, match=r"b\.json"):
        load_calibrators(tmp_path)


def test_fingerprint_sees_weights_and_configuration_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = checkpoint_fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / "calibrators").mkdir()
    (tmp_path / "calibrators" / "c.json").write_text("{}")
    assert checkpoint_fingerprint(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"weightz")
    assert checkpoint_fingerprint(tmp_path) != before


def test_the_bundled_policy_names_a_calibrator_that_was_fitted_for_the_bundled_model() -> None:
    model = Path(ranker_svc.__path__[0]) / "models" / "demo"
    (named,) = {issue.ranker.calibrator for issue in load_policy(default_policy_path()).issues}
    assert load_calibrators(model / "calibrators")[str(named)].fitted_for.model == checkpoint_fingerprint(model)
