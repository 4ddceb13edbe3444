"""The file of observations, and `tune` on it: what is written, what is refused, and the policy at the end."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from offline.tuning.observed import (
    Header,
    ObservationsError,
    Observed,
    judged_of,
    line_of,
    observed_of,
    read_observations,
)
from offline.tuning.outcome import Promise
from offline.tuning.run import Wish, tune
from services.policy import default_policy_path, load_policy
from tests.unit.offline.decisions import decision, issue

POLICY = load_policy(default_policy_path())
ISSUES = POLICY.issue_ids[::-1]  # in another order than the policy's
HEADER = Header(issues=ISSUES, policy_hash="0" * 12, encoder="e", ranker="r")


def rows(count: int = 400) -> list[Observed]:
    """Violations of one issue with high risks and probabilities, and clean videos with low ones."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(count):
        violates = number % 2 == 0
        level = 0.6 + 0.39 * rng.random() if violates else 0.5 * rng.random()
        values = tuple(round(level, 6) if each == "arson" else 0.05 for each in ISSUES)
        truth = ("arson",) if violates else ()
        kind, weight = ("violation", 0.01) if violates else ("other", 0.99)
        made.append(
            Observed(
                id=f"v{number}", kind=kind, weight=weight, truth=truth, risk=values, score=values, probability=values
            )
        )
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to_file(*lines: str) -> Path:
        path = tmp_path / "observations.jsonl"
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return Path(shutil.copy(default_policy_path(), tmp_path / "policy.yaml"))


def test_observations_come_back_in_the_order_of_the_policy(write: Callable[..., Path]) -> None:
    header, found = read_observations(write(line_of(HEADER), *map(line_of, rows(4))))  # type: ignore[arg-type]
    assert (header, found) == (HEADER, rows(4))
    judged = judged_of(header, found, POLICY)
    arson = POLICY.issue_ids.index("arson")
    assert judged.issues == POLICY.issue_ids
    assert judged.risk[:, arson].tolist() == [row.risk[ISSUES.index("arson")] for row in found]
    assert judged.truth[:, arson].tolist() == [True, False, True, False]
    assert judged.asks is not None
    weapon, animal = POLICY.issue_ids.index("weapon_threat"), POLICY.issue_ids.index("animal_cruelty")
    assert judged.asks[weapon, animal]
    assert judged.asks.sum() == len(ISSUES) + 2


def test_a_decision_without_the_ranker_is_refused() -> None:
    made = decision(issue("arson", risk=0.9, probability=0.8), issue("drug_abuse", risk=0.1))
    with pytest.raises(ValueError, match="no score of drug_abuse: ask in mode `full`"):
        observed_of("v", "other", 1.0, (), made)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((), ":1: no observation"),
        (("{}\n",), ":1: no observation: issues"),
        ((line_of(HEADER),), "no video"),
        ((line_of(HEADER), line_of(rows(1)[0]) * 2), "twice"),
        ((line_of(HEADER), '{"id": "x"}\n'), ":2: no observation: kind"),
        ((line_of(HEADER), line_of(rows(1)[0].model_copy(update={"risk": (0.1,)}))), ":2: no observation"),
        ((line_of(HEADER), line_of(rows(1)[0].model_copy(update={"truth": ("theft",)}))), ":2: the issues"),
    ],
)
def test_other_files_are_refused(write: Callable[..., Path], lines: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ObservationsError, match=problem):
        read_observations(write(*lines))


def test_another_policy_is_refused(write: Callable[..., Path]) -> None:
    other = HEADER.model_copy(update={"issues": (*ISSUES[:-1], "theft")})
    with pytest.raises(ObservationsError, match="theft"):
        judged_of(other, rows(2), POLICY)


def test_a_kept_promise_is_written_into_the_policy(write: Callable[..., Path], policy: Path, tmp_path: Path) -> None:
    file = write(line_of(HEADER), *map(line_of, rows()))  # type: ignore[arg-type]
    found = tune(Wish(promise=Promise(0.8, 0.1)), policy, file, tmp_path / "t.json", Console(quiet=True), write=True)
    assert found
    told = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert told["kept"] is True
    arson = load_policy(policy).issue("arson")
    assert told["thresholds"]["arson"]["router.threshold"] == arson.router.threshold
    assert told["thresholds"]["arson"]["actions.review"] == arson.actions.review
    assert 0.5 < arson.router.threshold <= 0.7
    assert arson.actions.review <= arson.actions.block


def test_where_none_exists_the_policy_stays(write: Callable[..., Path], policy: Path, tmp_path: Path) -> None:
    file = write(line_of(HEADER), *map(line_of, rows(40)))  # type: ignore[arg-type]
    wish = Wish(promise=Promise(0.9, 0.2))
    assert not tune(wish, policy, file, tmp_path / "t.json", Console(quiet=True), write=True)
    told = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert told["kept"] is False
    assert "label more violations" in told["reason"]
    assert max(each["missing"] for each in told["promised"]) > 0
    assert policy.read_text(encoding="utf-8") == default_policy_path().read_text(encoding="utf-8")


def test_a_pass_rate_changes_router_thresholds_alone(write: Callable[..., Path], policy: Path, tmp_path: Path) -> None:
    file = write(line_of(HEADER), *map(line_of, rows()))  # type: ignore[arg-type]
    assert tune(Wish(pass_rate=0.02), policy, file, tmp_path / "t.json", Console(quiet=True), write=True)
    told = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert 0.005 < told["passed"]["value"] <= 0.02
    for each, before in zip(load_policy(policy).issues, POLICY.issues, strict=True):
        assert each.actions == before.actions
        assert each.router.threshold == told["thresholds"][each.id]["router.threshold"]


@pytest.mark.parametrize("wish", [{}, {"pass_rate": 0.1, "promise": Promise()}, {"pass_rate": 0.0}, {"pass_rate": 1.5}])
def test_wishes_that_make_no_sense_are_refused(wish: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="--pass-rate"):
        Wish(**wish)  # type: ignore[arg-type]
