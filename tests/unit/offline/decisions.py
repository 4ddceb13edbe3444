"""Builds decisions as a gateway would make them, from the few numbers that a test is about."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from offline.evaluation.collect import Observation
from offline.manifest import Labelled
from services.contracts import Decision, IssueDecision

SEVERITY = ("allow", "review", "block")


def issue(
    issue_id: str, *, risk: float, probability: float | None = None, threshold: float = 0.5, score: float | None = None
) -> IssueDecision:
    """Escalated at the threshold, reviewed from 0.5 and blocked from 0.8 of the probability."""
    verdict: Any = "allow"
    if probability is not None and probability >= 0.5:
        verdict = "block" if probability >= 0.8 else "review"
    return IssueDecision(
        id=issue_id,
        name=issue_id,
        verdict=verdict,
        reason="filtered" if probability is None else "ranker_probability",
        escalated=risk >= threshold,
        risk=risk,
        router_threshold=threshold,
        probability=probability,
        score=probability if score is None else score,
        review_threshold=0.5,
        block_threshold=0.8,
    )


def decision(*issues: IssueDecision, **changes: Any) -> Decision:
    """The decision that rests on the given issues."""
    worst = max((own.verdict for own in issues), key=SEVERITY.index, default="allow")
    fields = {
        "id": "d",
        "created_at": datetime(2026, 11, 22, tzinfo=UTC),
        "verdict": worst,
        "route": "refined" if any(own.probability is not None for own in issues) else "filtered",
        "mode": "cascade",
        "issues": issues,
        "sha256": "0" * 64,
        "policy_hash": "0" * 12,
        "request_id": "r",
        "trace_id": "t",
    }
    return Decision.model_validate(fields | changes)


def observation(
    kind: str,
    weight: float,
    truth: set[str],
    issues: Mapping[str, tuple[float, float | None]],
    *,
    name: str = "",
    mode: str = "cascade",
    **labels: str,
) -> Observation:
    """An observation; `issues` maps an issue to its risk and, where the ranker was asked, its probability."""
    made = [issue(name, risk=risk, probability=probability) for name, (risk, probability) in issues.items()]
    return Observation(kind, frozenset(truth), decision(*made, mode=mode), weight, name, labels)


def labelled(file: Path, kind: str, issues: Iterable[str] = (), title: str = "", **fields: Any) -> Labelled:
    """A row of a manifest that names a file."""
    row = {"path": file.name, "id": file.name, "kind": kind, "issues": tuple(issues), "title": title, "file": file}
    return Labelled(**{**row, **fields})
