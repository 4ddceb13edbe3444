"""Thresholds in the text of a policy: what changes, what stays, and what is refused."""

from pathlib import Path

import pytest

from offline.tuning.policy import rounded_up, stated, with_thresholds, write_policy
from services.policy import default_policy_path, load_policy

BUNDLED = default_policy_path().read_text(encoding="utf-8")
KEYS = ("router.threshold", "actions.review", "actions.block")
STYLES = """\
# kept
name: styles
version: 1
issues:
  - {id: flow, name: one, definition: d, router: {threshold: 0.5}, actions: {review: 0.2, block: 0.9}}  # behind
  - id: block
    name: "zw\u00f6lf"     # not ASCII
    definition: >-
      Folded
      text.
    actions: {block: 0.9, review: 0.2}
    router:
      # about the threshold
      threshold: .5   # of this issue
  - name: late
    definition: d
    id: late
    router:
      threshold: 0.50
    actions:
      review: 0.2
      block: 0.9
"""


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("text", [BUNDLED, STYLES], ids=["bundled", "styles"])
def test_every_threshold_of_every_issue_can_be_written_again_and_again(text: str, ends: str) -> None:
    text = text.replace("\n", ends)
    for shift in (0.0, 0.05):
        wanted = {
            name: {"router.threshold": 0.1234, "actions.review": 0.4 + shift, "actions.block": 0.7}
            for name in load_policy(text).issue_ids
        }
        text = with_thresholds(text, wanted)
    found = load_policy(text)
    assert {name: {key: stated(found, name, key) for key in KEYS} for name in found.issue_ids} == wanted
    assert text.count("\n") == text.count(ends)


def test_comments_order_and_all_other_settings_stay() -> None:
    after = with_thresholds(STYLES, {"block": {"router.threshold": 0.25}})
    assert after == STYLES.replace("threshold: .5 ", "threshold: 0.2500 ")


def test_what_an_issue_took_from_the_defaults_becomes_its_own() -> None:
    after = with_thresholds(BUNDLED, {"arson": {"actions.review": 0.25}})
    found, before = load_policy(after), load_policy(BUNDLED)
    assert found.issue("arson").actions.review == 0.25
    assert found.issue("arson").actions.block == before.issue("arson").actions.block
    assert [each for each in found.issues if each.id != "arson"] == [e for e in before.issues if e.id != "arson"]
    # Nothing but two lines was added.
    assert len(after.splitlines()) == len(BUNDLED.splitlines()) + 2
    assert [line for line in after.splitlines() if line in BUNDLED.splitlines()] == BUNDLED.splitlines()


def test_what_would_make_the_policy_wrong_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="below review"):
        with_thresholds(BUNDLED, {"arson": {"actions.review": 0.95}})
    with pytest.raises(ValueError, match="no issue theft"):
        with_thresholds(BUNDLED, {"theft": {"router.threshold": 0.5}})
    file = tmp_path / "policy.yaml"
    file.write_text(BUNDLED, encoding="utf-8")
    with pytest.raises(ValueError, match="below review"):
        write_policy(file, {"arson": {"actions.review": 0.95}})
    assert file.read_text(encoding="utf-8") == BUNDLED
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_to_a_policy_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "policy.yaml", tmp_path / "link.yaml"
    file.write_text(BUNDLED, encoding="utf-8")
    link.symlink_to(file)
    write_policy(link, {"arson": {"router.threshold": 0.75}})
    assert link.is_symlink()
    assert load_policy(file).issue("arson").router.threshold == 0.75


def test_router_thresholds_are_rounded_up() -> None:
    assert [rounded_up(value) for value in (0.24801, 0.2480, 0.99999, 1.0)] == [0.2481, 0.2480, 1.0, 1.0]
