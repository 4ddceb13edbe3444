"""A request, the state it is asked under, and the router's answer to it, for tests of the cache."""

from typing import Any

from services.contracts import (
    Context,
    IssuePolicy,
    IssueRank,
    IssueRisk,
    MediaFacts,
    ModelIdentity,
    PolicySlice,
    RankResult,
    RouteRequest,
    RouteResult,
    RouterState,
    Timings,
)

RANKER = ModelIdentity(name="m", fingerprint="f", engine="reference", configuration="c")
STATE = RouterState(encoder="e", bank_revision="r", configuration="k", ranker=RANKER)


def issue(name: str, threshold: float = 0.5, **fields: Any) -> IssuePolicy:
    return IssuePolicy(id=name, name=name, definition=f"What {name} is.", router_threshold=threshold, **fields)


REQUEST = RouteRequest(
    sha256="a" * 64,
    context=Context(title="Bonfire", description="at night", tags=("fire",), language="en"),
    policy=PolicySlice(policy_hash="b" * 64, issues=(issue("arson"), issue("smoking"))),
)


def result(risks: tuple[float, ...] = (0.1, 0.2), *, ranked: bool | None = None, **fields: Any) -> RouteResult:
    """The answer to REQUEST: whole, made under STATE, ranked where a risk reaches 0.5."""
    escalated = [risk >= 0.5 for risk in risks]
    asked = any(escalated) if ranked is None else ranked
    issues = tuple(
        IssueRisk(id=policy.id, risk=risk, threshold=0.5, escalated=up)
        for policy, risk, up in zip(REQUEST.policy.issues, risks, escalated, strict=True)
    )
    ranks = tuple(
        IssueRank(id=each.id, prompt="P2", answers=(), score=0.9, probability=0.9, calibrator=None)
        for each in issues
        if each.escalated
    )
    answer = RouteResult(
        media=MediaFacts(
            duration_s=3.0, width=160, height=160, fps=8.0, video_codec="h264", container="mov", has_audio=False,
            size_bytes=9,
        ),
        frame_times_s=(0.0, 1.5),
        encoder="e",
        bank_revision="r",
        configuration="k",
        issues=issues,
        rank=RankResult(issues=ranks, model=RANKER) if asked else None,
        rank_missing=None if asked else "not_escalated",
        warnings=("issue `theft` has no seeds",),
        timings=Timings(stages={"decode": 0.1}),
    )  # fmt: skip
    return answer.model_copy(update=fields)
