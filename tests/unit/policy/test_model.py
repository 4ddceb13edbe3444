"""The policy's hash, its slice and its fail modes."""

import pytest
from pydantic import ValidationError

from services.errors import UnknownIssue
from services.policy import Policy, default_policy_path, load_policy


@pytest.fixture
def policy() -> Policy:
    return load_policy(default_policy_path())


def test_hash_ignores_layout_and_sees_content(policy: Policy) -> None:
    text = default_policy_path().read_text()
    assert load_policy("# another comment\n" + text).content_hash == policy.content_hash
    assert load_policy(text.replace("block: 0.8", "block: 0.81")).content_hash != policy.content_hash
    assert len(policy.content_hash) == 64


def test_hash_is_the_same_whether_a_value_is_stated_or_inherited(policy: Policy) -> None:
    text = default_policy_path().read_text()
    taken = policy.issue("arson").actions
    own = f"    actions: {{review: {taken.review}, block: {taken.block}}}\n"
    stated = text.replace("  - id: arson\n", "  - id: arson\n" + own)
    assert stated != text
    assert load_policy(stated).content_hash == policy.content_hash


def test_slice_keeps_file_order_and_carries_the_hash(policy: Policy) -> None:
    part = policy.slice(["arson", "weapon_threat", "arson"])
    assert [issue.id for issue in part.issues] == ["weapon_threat", "arson"]
    assert part.policy_hash == policy.content_hash
    assert part.issues[0].calibrator == "demo-p2"
    assert part.issues[0].router_threshold == policy.issue("weapon_threat").router.threshold


def test_a_sibling_outside_the_request_is_not_asked(policy: Policy) -> None:
    assert policy.slice(["weapon_threat"]).issues[0].ask_with == ()
    assert policy.slice(["weapon_threat", "animal_cruelty"]).issues[0].ask_with == ("animal_cruelty",)
    assert len(policy.slice().issues) == 8


def test_unknown_issue_names_the_known_ones(policy: Policy) -> None:
    with pytest.raises(UnknownIssue) as caught:
        policy.slice(["arson", "jaywalking"])
    assert "jaywalking" in str(caught.value)
    assert "distracted_driving" in str(caught.value)


def test_an_issue_may_override_the_fail_mode(policy: Policy) -> None:
    text = default_policy_path().read_text()
    text = text.replace("  - id: arson\n", "  - id: arson\n    ranker_missing: block\n")
    changed = load_policy(text)
    assert changed.ranker_missing("arson") == "block"
    assert changed.ranker_missing("weapon_threat") == "review"


def test_a_policy_built_in_code_is_checked_too(policy: Policy) -> None:
    data = policy.model_dump()
    data["issues"][0]["actions"] = {"review": 0.9, "block": 0.1}
    with pytest.raises(ValidationError, match=r"issues\[0\]\.actions\.block"):
        Policy.model_validate(data)
