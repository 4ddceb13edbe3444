"""Agreement of decisions with the truth, and the issue that a table shows."""

import io
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from rich.console import Console

from services.contracts import Decision, IssueDecision, SeedMatch, Verdict
from winnow.display import decision_table
from winnow.report import SEVERITY, Clip, agreement, agrees, leading_issue, printable, row, truth


def issue(issue_id: str, verdict: str, risk: float | None = 0.1, probability: float | None = None) -> IssueDecision:
    return IssueDecision.model_validate(
        {
            "id": issue_id,
            "name": issue_id,
            "verdict": verdict,
            "reason": "filtered",
            "escalated": False,
            "risk": risk,
            "probability": probability,
            "router_threshold": 0.5,
            "review_threshold": 0.5,
            "block_threshold": 0.9,
        }
    )


def decision(verdict: str, *issues: IssueDecision, **fields: Any) -> Decision:
    return Decision.model_validate(
        {
            "id": "dec_1",
            "created_at": datetime(2026, 11, 22, tzinfo=UTC),
            "verdict": verdict,
            "route": "refined",
            "mode": "cascade",
            "issues": [each.model_dump() for each in issues],
            "sha256": "0" * 64,
            "policy_hash": "0" * 12,
            "request_id": "r",
            "trace_id": "t",
            **fields,
        }
    )


VIOLATION = Clip(path="a.mp4", kind="violation", issues=("arson",))
LOOK_ALIKE = Clip(path="b.mp4", kind="look_alike", issues=())
OTHER = Clip(path="c.mp4", kind="other", issues=())


@pytest.mark.parametrize(
    ("clip", "given", "expected"),
    [
        (VIOLATION, decision("block", issue("arson", "block")), True),
        (VIOLATION, decision("review", issue("arson", "review")), True),
        (VIOLATION, decision("allow", issue("arson", "allow")), False),
        (VIOLATION, decision("block", issue("arson", "allow"), issue("drug_abuse", "block")), False),
        (VIOLATION, decision("block", issue("arson", "review"), issue("drug_abuse", "block")), True),
        (VIOLATION, decision("pending", issue("arson", "pending")), False),
        (LOOK_ALIKE, decision("allow", issue("arson", "allow")), True),
        (LOOK_ALIKE, decision("review", issue("arson", "review")), False),
        (OTHER, decision("allow", issue("arson", "allow")), True),
        (OTHER, decision("block", issue("arson", "block")), False),
        (OTHER, decision("pending", issue("arson", "pending")), False),
    ],
)
def test_agreement_with_the_truth(clip: Clip, given: Decision, expected: bool) -> None:
    assert agrees(clip, given) is expected
    assert agreement([(clip, given), (clip, given)]) == 2 * expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (decision("allow", issue("a", "allow", 0.2), issue("b", "allow", 0.4, 0.1)), "b"),
        (decision("allow", issue("a", "allow", 0.4), issue("b", "allow", 0.2, 0.3)), "a"),
        (decision("block", issue("a", "review", 0.9, 0.6), issue("b", "block", 0.5, 0.95)), "b"),
        (decision("review", issue("a", "review", 0.9, 0.6), issue("b", "review", 0.5, 0.7)), "b"),
        (decision("review", issue("a", "review", None), issue("b", "allow", None)), "a"),
    ],
)
def test_the_issue_shown_is_the_severest_or_the_riskiest(given: Decision, expected: str) -> None:
    shown = leading_issue(given)
    assert shown is not None
    assert shown.id == expected


def test_a_row_shows_numbers_and_where_they_lack_a_dash() -> None:
    match = SeedMatch(seed_id="s", kind="golden", similarity=0.8, frame_time_s=1.25)
    judged = issue("arson", "block", 0.812, 0.934).model_copy(update={"evidence": (match,)})
    line = row("a.mp4", decision("block", judged), 0.4567, VIOLATION)
    assert (line.risk, line.probability, line.evidence, line.latency) == ("0.81 / 0.50", "0.93", "1.2 s", "457 ms")
    assert line.agrees is True
    assert line.truth == "arson"
    bare = row("b.mp4", decision("review", issue("arson", "review", None), route="degraded"), 1.0)
    assert (bare.risk, bare.probability, bare.evidence, bare.truth, bare.agrees) == ("-", "-", "-", "", None)


def test_every_verdict_has_a_severity() -> None:
    assert set(SEVERITY) == set(get_args(Verdict))


def test_truth_in_words() -> None:
    assert (truth(VIOLATION), truth(LOOK_ALIKE), truth(OTHER)) == ("arson", "look-alike", "other")


@pytest.mark.parametrize("with_truth", [True, False])
def test_the_table_says_everything_in_eighty_columns(with_truth: bool) -> None:
    clip = Clip(path="test-violation-00000.mp4", kind="violation", issues=("distracted_driving",))
    judged = decision("review", issue("distracted_driving", "review", risk=0.93, probability=0.65))
    line = row(clip.path, judged, 0.123, clip)
    for width in (80, 160):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(decision_table([line], with_truth=with_truth, width=width))
        text = console.export_text()
        wanted = [clip.path, "review", "refined", "distracted_driving", "0.93 / 0.50", "0.65", "123 ms"]
        assert all(each in text for each in (*wanted, *(["agrees", "yes"] if with_truth else []))), text
        assert max(map(len, text.splitlines())) <= width


def test_a_file_name_is_no_markup_and_breaks_no_line() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    line = row("[red]hot\n.mp4", decision("allow", issue("arson", "allow")), 0.1)
    console.print(decision_table([line], with_truth=False, width=160))
    assert "[red]hot?.mp4" in console.export_text()


def test_control_characters_and_undecodable_bytes_are_not_printed() -> None:
    assert printable("ä [red]\x1b]0;\n\udcff.mp4") == "ä [red]?]0;??.mp4"
