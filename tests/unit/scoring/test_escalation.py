"""What is asked of the ranker about a risky video: issues and frames. Pure."""

from hypothesis import given
from hypothesis import strategies as st

from services.contracts import IssuePolicy
from services.scoring import Match, Risk, asked_issues, choose_frames, evidence_frames


def issue(name: str, *ask_with: str) -> IssuePolicy:
    return IssuePolicy(id=name, name=name, definition="d", router_threshold=0.5, ask_with=ask_with, prompt="P4")


def test_siblings_are_asked_where_the_request_has_them() -> None:
    slice_ = [issue("weapon", "cruelty", "absent"), issue("arson"), issue("cruelty", "arson")]
    asked = asked_issues(slice_, ["weapon"])
    assert [each.id for each in asked] == ["weapon", "cruelty"]
    assert asked[0].prompt == "P4"
    assert [each.id for each in asked_issues(slice_, ["cruelty"])] == ["arson", "cruelty"]


def risk(*frames: int) -> Risk:
    return Risk(0.5, tuple(Match(frame, f"seed-{i}", "golden", 0.9 - i / 100) for i, frame in enumerate(frames)))


def test_every_issue_has_a_frame_before_any_has_two() -> None:
    risks = {"a": risk(5, 6, 7), "b": risk(1, 2), "c": risk(), "d": risk(0)}
    assert evidence_frames(risks, ["b", "a", "c"]) == [1, 5, 2, 6, 7]
    assert evidence_frames(risks, []) == []


def test_few_frames_are_all_sent() -> None:
    assert choose_frames(5, [3], 8) == (0, 1, 2, 3, 4)


def test_evidence_first_then_evenly() -> None:
    assert choose_frames(32, [31, 31, 30], 4) == (7, 22, 30, 31)
    assert choose_frames(32, [], 4) == (4, 12, 20, 28)
    assert choose_frames(9, [4], 1) == (4,)


@given(count=st.integers(1, 64), wanted=st.integers(1, 64), data=st.data())
def test_distinct_and_as_many_as_wanted(count: int, wanted: int, data: st.DataObject) -> None:
    evidence = data.draw(st.lists(st.integers(0, count - 1), max_size=20))
    chosen = choose_frames(count, evidence, wanted)
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) == min(count, wanted)
    assert all(0 <= frame < count for frame in chosen)
    if evidence:
        assert evidence[0] in chosen
