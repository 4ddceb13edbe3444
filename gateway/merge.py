"""From the router's risks and the ranker's probabilities to verdicts, by the policy. Pure."""

from dataclasses import dataclass

from services.contracts import (
    IssueDecision,
    IssuePolicy,
    IssueRank,
    IssueRisk,
    PolicySlice,
    Reason,
    Route,
    RouteResult,
    Verdict,
)
from services.policy import Actions, Policy

SEVERITY: dict[Verdict, int] = {"allow": 0, "pending": 1, "review": 2, "block": 3}


@dataclass(frozen=True)
class Merged:
    """The verdict, how it came about, and the issues it rests on.

    Attributes:
        verdict: the severest verdict of any issue.
        route: `degraded` where a fail mode spoke, else `refined` where the ranker answered, else `filtered`.
        issues: one for every issue of the slice, in its order.
        degraded_reason: what was missing, as a metric label; None where no fail mode spoke.
    """

    verdict: Verdict
    route: Route
    issues: tuple[IssueDecision, ...]
    degraded_reason: str | None


def merge(
    policy: Policy, policy_slice: PolicySlice, result: RouteResult | None, *, router_missing: str = "unavailable"
) -> Merged:
    """Judge every issue of the slice.

    Args:
        policy: gives action thresholds and fail modes.
        policy_slice: the issues that were requested; they come from `policy`.
        result: the router's answer, or None where the router is missing.
        router_missing: why it is missing, for `degraded_reason`.
    """
    risks = {} if result is None else {risk.id: risk for risk in result.issues}
    ranks = {} if result is None or result.rank is None else {rank.id: rank for rank in result.rank.issues}
    issues = tuple(_judge(policy, issue, risks.get(issue.id), ranks.get(issue.id)) for issue in policy_slice.issues)
    reasons = {issue.reason for issue in issues}
    return Merged(
        verdict=severest(tuple(issue.verdict for issue in issues)),
        route=_route(reasons, ranked=result is not None and result.rank is not None),
        issues=issues,
        degraded_reason=_degraded_reason(reasons, result, router_missing),
    )


def verdict_of(probability: float, actions: Actions) -> Verdict:
    """The verdict on one issue; a probability equal to a threshold reaches it.

    Args:
        probability: calibrated probability that the issue is violated, in [0, 1].
        actions: the issue's thresholds.
    """
    if probability >= actions.block:
        return "block"
    if probability >= actions.review:
        return "review"
    return "allow"


def severest(verdicts: tuple[Verdict, ...]) -> Verdict:
    """Block before review before pending before allow; `allow` for none."""
    return max(verdicts, key=SEVERITY.__getitem__, default="allow")


def _judge(policy: Policy, issue: IssuePolicy, risk: IssueRisk | None, rank: IssueRank | None) -> IssueDecision:
    actions = policy.issue(issue.id).actions
    verdict, reason = _verdict(policy, issue, risk, rank)
    return IssueDecision(
        id=issue.id,
        name=issue.name,
        verdict=verdict,
        reason=reason,
        escalated=risk is not None and risk.escalated,
        risk=None if risk is None else risk.risk,
        router_threshold=issue.router_threshold,
        probability=None if rank is None else rank.probability,
        score=None if rank is None else rank.score,
        answers=() if rank is None else rank.answers,
        review_threshold=actions.review,
        block_threshold=actions.block,
        evidence=() if risk is None else risk.matches,
    )


def _verdict(
    policy: Policy, issue: IssuePolicy, risk: IssueRisk | None, rank: IssueRank | None
) -> tuple[Verdict, Reason]:
    """A sibling that was asked has a rank although it did not escalate, and is judged by it."""
    if rank is not None:
        return verdict_of(rank.probability, policy.issue(issue.id).actions), "ranker_probability"
    if risk is None:
        return policy.fail_modes.router_missing, "router_missing"
    if not risk.escalated:
        return "allow", "filtered"
    return policy.ranker_missing(issue.id), "ranker_missing"


def _route(reasons: set[Reason], *, ranked: bool) -> Route:
    if reasons & {"ranker_missing", "router_missing"}:
        return "degraded"
    return "refined" if ranked else "filtered"


def _degraded_reason(reasons: set[Reason], result: RouteResult | None, router_missing: str) -> str | None:
    if "router_missing" in reasons:
        return f"router_{router_missing}" if result is None else "router_incomplete"
    if "ranker_missing" in reasons:
        missing = None if result is None else result.rank_missing
        return f"ranker_{missing or 'incomplete'}"
    return None
