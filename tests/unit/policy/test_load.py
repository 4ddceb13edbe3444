"""Every error of a policy file is found, and said with its line and column."""

from pathlib import Path

import pytest

from services.policy import PolicyError, default_policy_path, load_policy

GOOD = """\
name: test
version: 1
fail_modes: {ranker_missing: block}
defaults:
  router: {threshold: 0.2}
  actions: {review: 0.4, block: 0.9}
issues:
  - id: one
    name: one thing
    definition: What one is.
    router:
      ask_with: [two]
  - id: two
    name: two things
    definition: What two is.
    router: {threshold: 0.7}
    actions:
      block: 0.5
    ranker: {prompt: P4, assembly: {method: union}}
    ranker_missing: allow
"""


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_policy(text)
    return str(caught.value).splitlines()


def replaced(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def test_defaults_merge_and_issues_win() -> None:
    policy = load_policy(GOOD)
    one, two = policy.issues
    assert (one.router.threshold, two.router.threshold) == (0.2, 0.7)
    assert (two.actions.review, two.actions.block) == (0.4, 0.5)
    assert two.ranker.assembly.method == "union"
    assert two.ranker.assembly.fine_weight == 0.5
    assert policy.version == "1"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("block: 0.5", "block: 1.5", "policy.yaml:18:14: issues[1].actions.block: Input should be less than"),
        ("block: 0.5", "block: 0.3", "policy.yaml:18:14: issues[1].actions.block: 0.3 is below review, 0.4"),
        ("      block: 0.5", "      review: 0.95", "policy.yaml:18:15: issues[1].actions.block: 0.9 is below"),
        ("block: 0.5", "blok: 0.5", "policy.yaml:18:13: issues[1].actions.blok: unknown key"),
        ("block: 0.5", "block: .nan", "policy.yaml:18:14: issues[1].actions.block: Input should be"),
        ("block: 0.5", "block: yes", "policy.yaml:18:14: issues[1].actions.block: Input should be a valid number"),
        ("block: 0.5", "block: '0.5'", "policy.yaml:18:14: issues[1].actions.block: Input should be a valid number"),
        ("[two]", "[twoo]", "policy.yaml:12:18: issues[0].router.ask_with[0]: `twoo` is no issue of this policy"),
        ("[two]", "[one]", "policy.yaml:12:18: issues[0].router.ask_with[0]: an issue cannot be its own sibling"),
        ("[two]", "[two, two]", "policy.yaml:12:23: issues[0].router.ask_with[1]: `two` is named twice"),
        ("id: two", "id: one", "policy.yaml:13:9: issues[1].id: `one` is used by an earlier issue"),
        ("id: two", "id: Two Things", "policy.yaml:13:9: issues[1].id: String should match"),
        ("name: two things", "nme: two things", "policy.yaml:14:10: issues[1].nme: unknown key"),
        ("    name: two things\n", "", "policy.yaml:13:5: issues[1].name: missing"),
        ("{threshold: 0.2}", "{threshold: 2}", "policy.yaml:5:23: defaults.router.threshold: Input should be less"),
        ("{threshold: 0.2}", "{treshold: 0.2}", "policy.yaml:5:22: defaults.router.treshold: unknown key"),
        ("defaults:\n", "defaults:\n  rooter: {}\n", "policy.yaml:5:11: defaults.rooter: unknown key; known: router"),
        ("version: 1", "version: 1\nversion: 2", "policy.yaml:3:1: version: this key stands twice"),
        ("prompt: P4", "prompt: P9", "policy.yaml:19:22: issues[1].ranker.prompt: Input should be 'P1'"),
        ("ranker_missing: block", "ranker_missing: retry", "policy.yaml:3:30: fail_modes.ranker_missing: Input"),
        ("name: test", "name: &x test", "policy.yaml:1:7: policy: anchors and aliases are not allowed"),
        ("name: test", "name: !!python/name:os.system x", "policy.yaml:1:7: name: the tag "),
        ("name: test", "[1]: x\nname: test", "policy.yaml:1:1: policy: a key must be text"),
        ("version: 1", "version: [", "policy.yaml:4:1: policy: not YAML: "),
        ("version: 1", "version: 1\n---\na: b", "policy.yaml:3:1: policy: not YAML: "),
    ],
)
def test_every_error_names_line_and_column(old: str, new: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in problems(replaced(old, new))), problems(replaced(old, new))


def test_all_errors_are_told_at_once_in_order_and_once_each() -> None:
    text = GOOD.replace("threshold: 0.2", "threshold: -1").replace("[two]", "[nobody]").replace("P4", "P5")
    found = problems(text)
    assert [line.split(": ")[1] for line in found] == [
        "defaults.router.threshold",
        "issues[0].router.ask_with[0]",
        "issues[1].ranker.prompt",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "- a\n- b\n",
        "42",
        "name: [",
        "\x00",
        "\x01",
        "[" * 5000,
        "a: " * 300,
        "? ? ?",
        "%YAML x",
    ],
)
def test_what_is_no_policy_is_refused_without_a_crash(text: str) -> None:
    assert problems(text)


def test_a_bomb_of_aliases_is_refused_before_it_expands() -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]" for i in range(9))
    assert "anchors and aliases" in problems(levels)[0]


def test_a_file_over_the_size_cap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text(GOOD + "#" * 1_000_001)
    with pytest.raises(PolicyError, match=r"big\.yaml:1:1: policy: larger than"):
        load_policy(path)


def test_unreadable_files_are_policy_errors(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"absent\.yaml:1:1: .*cannot be read"):
        load_policy(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(tmp_path / "latin.yaml")


def test_bundled_policy_holds_the_demo_world() -> None:
    policy = load_policy(default_policy_path())
    assert policy.issue_ids == (
        "weapon_threat",
        "underage_drinking",
        "smoking_promotion",
        "gambling_for_money",
        "drug_abuse",
        "animal_cruelty",
        "distracted_driving",
        "arson",
    )
    assert policy.issue("weapon_threat").router.ask_with == ("animal_cruelty",)
    assert policy.issue("animal_cruelty").router.ask_with == ("weapon_threat",)
    assert {issue.ranker.prompt for issue in policy.issues} == {"P2"}
