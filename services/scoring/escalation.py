"""What is asked about a risky video, and on which of its frames. Pure: the router and the lab choose alike."""

from collections.abc import Collection, Mapping, Sequence

from services.contracts import IssuePolicy, IssueQuestions
from services.scoring.risk import Risk


def asked_issues(policies: Sequence[IssuePolicy], escalated: Collection[str]) -> tuple[IssueQuestions, ...]:
    """The escalated issues and their `ask_with` siblings as far as the request has them, in the request's order."""
    asked = set(escalated)
    for policy in policies:
        if policy.id in escalated:
            asked.update(policy.ask_with)
    fields = IssueQuestions.model_fields
    return tuple(
        IssueQuestions.model_validate({name: getattr(policy, name) for name in fields})
        for policy in policies
        if policy.id in asked
    )


def evidence_frames(risks: Mapping[str, Risk], escalated: Sequence[str]) -> list[int]:
    """Frames of the matches of the escalated issues, best first; may repeat.

    The best match of every issue comes before the second best of any, so that none goes without a frame.

    Args:
        risks: of every issue.
        escalated: ids, riskiest first.
    """
    deepest = max((len(risks[issue].matches) for issue in escalated), default=0)
    return [
        risks[issue].matches[rank].frame
        for rank in range(deepest)
        for issue in escalated
        if rank < len(risks[issue].matches)
    ]


def choose_frames(count: int, evidence: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Indices of the frames to send, increasing.

    Half of them, rounded up, are the frames of the best matches; the others are spread evenly over the rest, since a
    question about the whole video needs more than its riskiest moments. A video with few frames is sent whole.

    Args:
        count: frames of the video.
        evidence: frames of the best matches, best first; may repeat.
        wanted: most frames.
    """
    if count <= wanted:
        return tuple(range(count))
    chosen = set(list(dict.fromkeys(evidence))[: (wanted + 1) // 2])
    rest = [frame for frame in range(count) if frame not in chosen]
    missing = wanted - len(chosen)
    chosen.update(rest[int((i + 0.5) * len(rest) / missing)] for i in range(missing))
    return tuple(sorted(chosen))
