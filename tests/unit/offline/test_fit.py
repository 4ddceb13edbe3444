"""Thresholds for a pass rate, the background, and the samples of calibration."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.demo_world.scene import Kind
from offline.demo_world.taxonomy import ISSUES
from offline.evaluation.collect import Observation
from offline.fit import fit_background, look_alike_seeds, read_seeds, risks, samples_of
from offline.manifest import Labelled, LabelledShot
from offline.tuning.pass_rate import fit_thresholds
from services.contracts import SeedKind
from services.scoring import Background
from tests.unit.offline.decisions import decision, issue, labelled, observation

IDS = [issue.id for issue in ISSUES]
LOWEST: dict[SeedKind, float] = {"golden": 0.0, "text": -0.4, "negative": 0.2}


def passed(risk: np.ndarray, weight: np.ndarray, thresholds: dict[str, float], ids: list[str]) -> float:
    cuts = np.array([thresholds[name] for name in ids])
    return float(weight[(risk >= cuts).any(axis=1)].sum() / weight.sum())


@given(st.integers(0, 10_000), st.floats(0.001, 0.5), st.integers(1, 4), st.sampled_from([2, 5, 1000]))
def test_thresholds_pass_at_most_the_pass_rate(seed: int, rate: float, issues: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    risk = rng.integers(0, levels, size=(60, issues)) / levels  # with few levels there are many ties
    weight = rng.choice([0.2, 1.0, 5.0], size=60)
    ids = IDS[:issues]
    thresholds, reached = fit_thresholds(risk, weight, ids, pass_rate=rate)
    assert set(thresholds) == set(ids)
    assert all(0 <= value <= 1 for value in thresholds.values())
    assert reached == pytest.approx(passed(risk, weight, thresholds, ids))
    assert reached <= rate + 1e-9


def test_thresholds_use_the_pass_rate_up_and_share_it_evenly() -> None:
    # Each video is risky for one of four issues: the issues do not overlap, so each may pass a quarter of 8 %.
    count = 4000
    risk = np.zeros((count, 4))
    risk[np.arange(count), np.arange(count) % 4] = np.linspace(0.1, 0.9, count)
    thresholds, reached = fit_thresholds(risk, np.ones(count), IDS[:4], pass_rate=0.08)
    assert reached == pytest.approx(0.08, abs=0.002)
    shares = [(risk[:, i] >= thresholds[name]).mean() for i, name in enumerate(IDS[:4])]
    assert shares == pytest.approx([0.02] * 4, abs=0.001)


def test_issues_that_pass_the_same_videos_may_each_pass_the_whole_rate() -> None:
    level = np.linspace(0, 0.99, 1000)
    thresholds, reached = fit_thresholds(np.stack([level, level], axis=1), np.ones(1000), IDS[:2], pass_rate=0.1)
    assert reached == pytest.approx(0.1, abs=0.002)
    assert thresholds[IDS[0]] == thresholds[IDS[1]] == pytest.approx(0.9 * 0.99, abs=0.005)


def clean_sample(look_alikes: int, others: int, violations: int = 0) -> list[Labelled]:
    kinds: list[Kind] = ["look_alike"] * look_alikes + ["other"] * others + ["violation"] * violations
    return [labelled(Path("x.mp4"), kind) for kind in kinds]


def similarities(count: int, low: float, high: float) -> list[dict[str, np.ndarray]]:
    return [{"arson": values} for values in np.linspace(low, high, count * 8).reshape(count, 8)]


def test_the_background_is_that_of_clean_traffic() -> None:
    videos = clean_sample(look_alikes=19, others=80, violations=20)
    found = fit_background({"golden": similarities(99, 0.0, 0.5) + similarities(20, 0.9, 0.99)}, videos, "abc")
    assert found.encoder == "abc"
    # Level 0.25 is the 90 % quantile; the violations' similarities, all above 0.9, are no part of it.
    assert found.level("golden", 0.45) == pytest.approx(0.25, abs=0.01)
    assert found.level("golden", 0.495) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("look_alikes", "others"), [(50, 50), (0, 100), (10, 90), (100, 0), (0, 0)])
def test_the_background_refuses_another_mix(look_alikes: int, others: int) -> None:
    videos = clean_sample(look_alikes, others, 5)
    with pytest.raises(ValueError, match=r"0\.192 of traffic"):
        fit_background({"golden": similarities(len(videos), 0, 1)}, videos, "abc")


def test_each_kind_of_seed_has_a_background_of_its_own() -> None:
    videos = clean_sample(look_alikes=19, others=80, violations=20)
    found = fit_background(
        {kind: similarities(99, low, low + 0.5) + similarities(20, 0.9, 0.99) for kind, low in LOWEST.items()},
        videos,
        "abc",
    )
    assert set(found.knots) == set(LOWEST)
    for kind, low in LOWEST.items():
        assert found.level(kind, low + 0.45) == pytest.approx(0.25, abs=0.01)


def test_a_negative_seed_is_the_first_shot_with_something_of_what_it_resembles() -> None:
    shots = [
        LabelledShot(start_s=start, end_s=start + 1, objects=names)
        for start, names in enumerate([("tulip", "carrot"), ("tulip", "hocho", "carrot"), ("man", "rose")])
    ]
    rows = [
        labelled(Path("a.mp4"), "look_alike", shots=tuple(shots), look_alike_of="weapon_threat"),
        labelled(Path("b.mp4"), "other", shots=tuple(shots)),
    ]
    (found,) = look_alike_seeds(rows)
    assert (found.path, found.issue, found.start_s, found.end_s) == (Path("a.mp4"), "weapon_threat", 1.0, 2.0)
    with pytest.raises(ValueError, match="resembles arson"):
        look_alike_seeds([labelled(Path("c.mp4"), "look_alike", shots=tuple(shots), look_alike_of="arson")])


def test_risk_is_the_level_of_the_best_frame() -> None:
    background = Background("e", {"golden": ((0.0, 0.0), (0.5, 0.4), (1.0, 1.0))})
    rows = [
        {"arson": np.array([0.1, 0.5]), "drug_abuse": np.array([0.0, -0.2])},
        {"arson": np.array([0.25, 0.0]), "drug_abuse": np.array([1.0, 0.0])},
    ]
    assert risks(rows, background, ["arson", "drug_abuse"]) == pytest.approx(np.array([[0.4, 0.0], [0.2, 1.0]]))
    assert risks(rows, background, ["drug_abuse"]) == pytest.approx(np.array([[0.0], [1.0]]))


def test_seed_manifests_are_read_relative_to_themselves(tmp_path: Path) -> None:
    row = '{"path": "a.mp4", "issue": "arson", "kind": "golden", "start_s": 1.0, "end_s": 2.5}\n'
    (tmp_path / "manifest.jsonl").write_text(row * 2, encoding="utf-8")
    first, _ = read_seeds(tmp_path / "manifest.jsonl")
    assert (first.path, first.issue, first.start_s, first.end_s) == (tmp_path / "a.mp4", "arson", 1.0, 2.5)


def scored(score: float, *, truth: bool, weight: float) -> Observation:
    made = decision(issue("arson", risk=0.9, probability=score, score=score), issue("drug_abuse", risk=0.1))
    return Observation("violation", frozenset({"arson"} if truth else ()), made, weight)


def test_issues_that_the_ranker_judged_are_samples_with_the_weight_of_their_video() -> None:
    sample = [scored(0.9, truth=True, weight=3.0), scored(0.2, truth=False, weight=1.0)]
    found = samples_of(sample)
    assert found.scores.tolist() == [0.9, 0.2]
    assert found.labels.tolist() == [True, False]
    assert found.weights.tolist() == [3.0, 1.0]
    assert found.issues.tolist() == ["arson", "arson"], "issues that were not asked are no samples"


def test_traffic_that_was_never_routed_fits_no_calibrator() -> None:
    with pytest.raises(ValueError, match="lower the router thresholds"):
        samples_of([observation("other", 1.0, set(), {"arson": (0.1, None)})])
