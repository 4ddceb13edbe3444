"""What a decision says in a table, and whether it agrees with the truth of an example clip. Pure."""

from typing import Literal

from pydantic import Field

from services.contracts import Decision, IssueDecision, IssueId, RequestModel

SEVERITY = {"allow": 0, "pending": 1, "review": 2, "block": 3}
FLAGGED = frozenset({"review", "block"})


class Clip(RequestModel):
    """A row of the manifest of example clips; `path` is relative to the manifest."""

    path: str = Field(min_length=1)
    kind: Literal["violation", "look_alike", "other"]
    issues: tuple[IssueId, ...] = Field(
        description="Ids of the issues that the clip violates; empty but for violations."
    )
    title: str = ""


class Row(RequestModel):
    """One line of the table, every cell as text."""

    clip: str
    truth: str
    verdict: str
    issue: str
    route: str
    risk: str
    probability: str
    evidence: str
    latency: str
    agrees: bool | None


def agrees(clip: Clip, decision: Decision) -> bool:
    """Whether the decision is right about the clip.

    A violation is found where the verdict is review or block and a violated issue is among the issues judged so;
    anything else, look-alikes included, is right where the verdict is allow.
    """
    if clip.kind != "violation":
        return decision.verdict == "allow"
    flagged = {issue.id for issue in decision.issues if issue.verdict in FLAGGED}
    return decision.verdict in FLAGGED and not flagged.isdisjoint(clip.issues)


def agreement(pairs: list[tuple[Clip, Decision]]) -> int:
    """How many decisions agree with the truth."""
    return sum(agrees(clip, decision) for clip, decision in pairs)


def leading_issue(decision: Decision) -> IssueDecision | None:
    """The issue to show: the severest verdict, then the highest probability, then the highest risk.

    Where every issue is allowed, that is the one with the highest risk; without issues, None.
    """
    if decision.verdict == "allow":
        return max(decision.issues, key=lambda issue: _number(issue.risk), default=None)
    return max(
        decision.issues,
        key=lambda issue: (SEVERITY[issue.verdict], _number(issue.probability), _number(issue.risk)),
        default=None,
    )


def row(name: str, decision: Decision, latency_s: float, clip: Clip | None = None) -> Row:
    """The table line of one decision; `clip` gives the truth where it is known."""
    issue = leading_issue(decision)
    evidence = issue.evidence[0] if issue is not None and issue.evidence else None
    return Row(
        clip=name,
        truth="" if clip is None else truth(clip),
        verdict=decision.verdict,
        issue="-" if issue is None else issue.id,
        route=decision.route,
        risk="-" if issue is None or issue.risk is None else f"{issue.risk:.2f} / {issue.router_threshold:.2f}",
        probability="-" if issue is None or issue.probability is None else f"{issue.probability:.2f}",
        evidence="-" if evidence is None else f"{evidence.frame_time_s:.1f} s",
        latency=f"{latency_s * 1000:.0f} ms",
        agrees=None if clip is None else agrees(clip, decision),
    )


def printable(text: str) -> str:
    """The text on one line and without what a terminal would obey or could not encode."""
    return "".join(each if each.isprintable() else "?" for each in text)


def truth(clip: Clip) -> str:
    """The truth in words: the violated issues, or what kind of harmless clip it is."""
    return ", ".join(clip.issues) if clip.kind == "violation" else clip.kind.replace("_", "-")


def _number(value: float | None) -> float:
    return -1.0 if value is None else value
