"""Calibrators: temperature and its fit, artifacts on disk, and what they were fitted for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.calibration import (
    CalibrationError,
    Calibrator,
    FittedFor,
    checkpoint_fingerprint,
    fit_temperature,
    load_calibrators,
)


@given(st.floats(0.0, 1.0), st.floats(0.02, 50.0))
def test_apply_keeps_range_and_side(score: float, temperature: float) -> None:
    probability = Calibrator(id="c", temperature=temperature).apply(score)
    assert 0.0 <= probability <= 1.0
    assert (probability - 0.5) * (score - 0.5) >= 0.0


def test_apply_by_hand() -> None:
    calibrator = Calibrator(id="c", temperature=2.0)
    assert calibrator.apply(0.9) == pytest.approx(0.75)
    assert (calibrator.apply(0.0), calibrator.apply(0.5), calibrator.apply(1.0)) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_fit_recovers_a_known_temperature(truth: float) -> None:
    rng = np.random.default_rng(7)
    logits = rng.normal(0.0, 2.0, 40_000)
    labels = rng.random(40_000) < 1.0 / (1.0 + np.exp(-logits))
    scores = 1.0 / (1.0 + np.exp(-logits * truth))
    assert fit_temperature(scores, labels) == pytest.approx(truth, rel=0.05)


def test_weights_are_repetitions() -> None:
    scores, labels = [0.9, 0.8, 0.3, 0.6], [1, 0, 0, 1]
    repeated = fit_temperature([*scores, 0.8, 0.8], [*labels, 0, 0])
    assert fit_temperature(scores, labels, [1.0, 3.0, 1.0, 1.0]) == pytest.approx(repeated, rel=1e-4)


def test_fit_is_safe_with_certain_scores_and_separable_classes() -> None:
    assert fit_temperature([0.0, 1.0], [1, 0]) == pytest.approx(50.0, rel=1e-3)
    assert fit_temperature([0.4, 0.6], [0, 1]) == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize(
    ("scores", "labels", "weights"),
    [
        ([0.5], [1], None),
        ([0.5, 0.5], [1, 2], None),
        ([0.5, 1.5], [1, 0], None),
        ([0.5, float("nan")], [1, 0], None),
        ([0.5, 0.5], [1, 0], [1.0, -1.0]),
        ([0.5, 0.5], [1, 0], [1.0, 0.0]),
        ([0.5, 0.5], [1], None),
    ],
)
def test_fit_refuses_what_it_cannot_fit(scores: list[float], labels: list[int], weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match=r"must be|both classes"):
        fit_temperature(scores, labels, weights)


def test_mismatch_names_what_differs_and_skips_the_unknown() -> None:
    calibrator = Calibrator(
        id="c", temperature=1.5, fitted_for=FittedFor(model="aa", prompt="P2", frames=8, encoder="ee")
    )
    assert calibrator.mismatch(FittedFor(model="aa", prompt="P2", frames=8, bank_revision="r9")) == []
    (found,) = calibrator.mismatch(FittedFor(model="bb", prompt="P2"))
    assert found == "calibrator `c` was fitted for model aa, not bb"


def test_artifacts_round_trip_through_a_directory(tmp_path: Path) -> None:
    first = Calibrator(id="first", temperature=1.5, fitted_for=FittedFor(prompt="P2"), metrics={"ece": 0.02})
    (tmp_path / "a.json").write_text(first.model_dump_json())
    assert dict(load_calibrators(tmp_path)) == {"first": first}
    assert dict(load_calibrators(tmp_path / "absent")) == {}


def test_unusable_artifacts_are_named(tmp_path: Path) -> None:
    artifact = Calibrator(id="same", temperature=1.5).model_dump_json()
    (tmp_path / "a.json").write_text(artifact)
    (tmp_path / "b.json").write_text(artifact)
    with pytest.raises(CalibrationError, match=r"b\.json.*same"):
        load_calibrators(tmp_path)
    (tmp_path / "b.json").write_text('{"id": "b", "temperature": 0}')
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
