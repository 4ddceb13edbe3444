"""Every branch of the merge, from risks and probabilities to verdicts."""

from typing import Any

import pytest

from gateway.merge import merge, severest, verdict_of
from services.contracts import IssueRank, IssueRisk, MediaFacts, ModelIdentity, RankResult, RouteResult, SeedMatch
from services.policy import Actions, Policy

FACTS = MediaFacts(
    duration_s=3.0, width=160, height=160, fps=8.0, video_codec="h264", container="mov", has_audio=False, size_bytes=10
)


def policy(**fail_modes: Any) -> Policy:
    """Three issues; `c` has a fail mode of its own."""
    return Policy.model_validate(
        {
            "name": "test",
            "version": "1",
            "fail_modes": fail_modes,
            "issues": [
                {
                    "id": issue_id,
                    "name": issue_id.upper(),
                    "definition": f"definition of {issue_id}",
                    "router": {"threshold": 0.5, "ask_with": ask_with},
                    "actions": {"review": 0.4, "block": 0.8},
                    "ranker_missing": own,
                }
                for issue_id, ask_with, own in (("a", ["b"], None), ("b", [], None), ("c", [], "block"))
            ],
        }
    )


def risk(issue_id: str, value: float) -> IssueRisk:
    match = SeedMatch(seed_id=f"seed-{issue_id}", kind="golden", similarity=0.5, frame_time_s=1.0)
    return IssueRisk(id=issue_id, risk=value, threshold=0.5, escalated=value >= 0.5, matches=(match,))


def route(risks: dict[str, float], ranks: dict[str, float] | None = None, **fields: Any) -> RouteResult:
    rank = None
    if ranks is not None:
        rank = RankResult(
            issues=tuple(
                IssueRank(id=issue_id, prompt="P2", answers=(), score=p / 2, probability=p, calibrator="cal")
                for issue_id, p in ranks.items()
            ),
            model=ModelIdentity(name="m", fingerprint="f", engine="reference"),
        )
    return RouteResult(
        media=FACTS,
        frame_times_s=(0.0,),
        encoder="e",
        bank_revision="r",
        issues=tuple(risk(issue_id, value) for issue_id, value in risks.items()),
        rank=rank,
        **fields,
    )


LOW = {"a": 0.1, "b": 0.2, "c": 0.3}
A_HIGH = {"a": 0.9, "b": 0.2, "c": 0.3}
C_HIGH = {"a": 0.1, "b": 0.2, "c": 0.5}


@pytest.mark.parametrize(
    ("result", "verdicts", "reasons", "verdict", "taken", "degraded"),
    [
        pytest.param(
            route(LOW, rank_missing="not_escalated"),
            "allow allow allow",
            "f f f",
            "allow",
            "filtered",
            None,
            id="filtered",
        ),
        pytest.param(
            route(A_HIGH, {"a": 0.1}), "allow allow allow", "p f f", "allow", "refined", None, id="refined-allow"
        ),
        pytest.param(
            route(A_HIGH, {"a": 0.4}), "review allow allow", "p f f", "review", "refined", None, id="review-at"
        ),
        pytest.param(route(A_HIGH, {"a": 0.8}), "block allow allow", "p f f", "block", "refined", None, id="block-at"),
        pytest.param(
            route(A_HIGH, {"a": 0.5, "b": 0.95}),
            "review block allow",
            "p p f",
            "block",
            "refined",
            None,
            id="sibling-asked",
        ),
        pytest.param(
            route(A_HIGH, rank_missing="overloaded"),
            "review allow allow",
            "m f f",
            "review",
            "degraded",
            "ranker_overloaded",
            id="ranker-missing",
        ),
        pytest.param(
            route(C_HIGH, rank_missing="deadline"),
            "allow allow block",
            "f f m",
            "block",
            "degraded",
            "ranker_deadline",
            id="own-fail-mode",
        ),
        pytest.param(
            route({"a": 0.9, "b": 0.9, "c": 0.1}, {"a": 0.1}),
            "allow review allow",
            "p m f",
            "review",
            "degraded",
            "ranker_incomplete",
            id="ranker-left-one-out",
        ),
        pytest.param(
            route({"a": 0.1, "b": 0.1}),
            "allow allow review",
            "f f r",
            "review",
            "degraded",
            "router_incomplete",
            id="router-left-one-out",
        ),
        pytest.param(
            None, "review review review", "r r r", "review", "degraded", "router_overloaded", id="router-missing"
        ),
    ],
)
def test_merge(
    result: RouteResult | None, verdicts: str, reasons: str, verdict: str, taken: str, degraded: str | None
) -> None:
    given = policy()
    merged = merge(given, given.slice(), result, router_missing="overloaded")
    short = {"f": "filtered", "p": "ranker_probability", "m": "ranker_missing", "r": "router_missing"}
    assert [issue.verdict for issue in merged.issues] == verdicts.split()
    assert [issue.reason for issue in merged.issues] == [short[each] for each in reasons.split()]
    assert (merged.verdict, merged.route, merged.degraded_reason) == (verdict, taken, degraded)


@pytest.mark.parametrize("mode", ["allow", "review", "block"])
def test_fail_modes_speak(mode: str) -> None:
    given = policy(router_missing=mode, ranker_missing=mode)
    without_router = merge(given, given.slice(["a", "b"]), None)
    assert [issue.verdict for issue in without_router.issues] == [mode, mode]
    assert (without_router.verdict, without_router.route) == (mode, "degraded")
    without_ranker = merge(given, given.slice(["a"]), route({"a": 0.9}, rank_missing="unavailable"))
    assert (without_ranker.verdict, without_ranker.route) == (mode, "degraded")


def test_only_the_issues_of_the_slice_are_judged() -> None:
    given = policy()
    merged = merge(given, given.slice(["b"]), route(A_HIGH, {"a": 0.99, "b": 0.1}))
    assert [issue.id for issue in merged.issues] == ["b"]
    assert merged.verdict == "allow"


def test_the_numbers_travel_into_the_decision() -> None:
    given = policy()
    judged, passed, _ = merge(given, given.slice(), route(A_HIGH, {"a": 0.6})).issues
    assert (judged.risk, judged.probability, judged.score, judged.escalated) == (0.9, 0.6, 0.3, True)
    assert (judged.router_threshold, judged.review_threshold, judged.block_threshold) == (0.5, 0.4, 0.8)
    assert judged.evidence[0].seed_id == "seed-a"
    assert (passed.risk, passed.probability, passed.score, passed.escalated) == (0.2, None, None, False)
    missing = merge(given, given.slice(["a"]), None).issues[0]
    assert (missing.risk, missing.escalated, missing.evidence) == (None, False, ())


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.0, "allow"), (0.39, "allow"), (0.4, "review"), (0.79, "review"), (0.8, "block"), (1.0, "block")],
)
def test_a_threshold_is_reached_by_its_equal(probability: float, expected: str) -> None:
    assert verdict_of(probability, Actions(review=0.4, block=0.8)) == expected


def test_the_severest_verdict_wins() -> None:
    assert severest(("allow", "review", "block", "pending")) == "block"
    assert severest(("allow", "pending")) == "pending"
    assert severest(()) == "allow"
