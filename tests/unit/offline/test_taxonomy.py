"""What violates an issue, and what only looks as if it did."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.demo_world.taxonomy import (
    AMBIGUOUS,
    EXTRA_BENIGN,
    ISSUES,
    ISSUES_BY_ID,
    ROLE_OF,
    ROLES,
    TRIGGER_ROLES,
    DemoIssue,
    violated,
)
from services.policy import default_policy_path, load_policy

# Written out by hand from the table of the demo world, not derived from the code.
EXAMPLES = {
    "weapon_threat": ("axe", "baby", "carrot"),
    "underage_drinking": ("sake", "boy", "older_woman"),
    "smoking_promotion": ("smoking", "bearded_person", "no_smoking"),
    "gambling_for_money": ("game_die", "yen", "teddy_bear"),
    "drug_abuse": ("pill", "mirror_ball", "hospital"),
    "animal_cruelty": ("bow_and_arrow", "hamster", "dart"),
    "distracted_driving": ("calling", "truck", "books"),
    "arson": ("fire", "school", "wood"),
}
issues = pytest.mark.parametrize("issue", ISSUES, ids=lambda issue: issue.id)
names = st.sets(st.sampled_from([*ROLE_OF, "cloud", "guitar"]), max_size=6).map(frozenset)


def benign(issue: DemoIssue) -> tuple[str, ...]:
    return issue.members(issue.c) + EXTRA_BENIGN.get(issue.id, ())


def test_the_issues_are_those_of_the_policy() -> None:
    assert [issue.id for issue in ISSUES] == [issue.id for issue in load_policy(default_policy_path()).issues]
    assert set(EXAMPLES) == set(ISSUES_BY_ID)


@pytest.mark.parametrize(("issue_id", "names"), EXAMPLES.items(), ids=EXAMPLES)
def test_an_example_of_every_issue(issue_id: str, names: tuple[str, str, str]) -> None:
    a, b, c = names
    assert violated((frozenset({a, b, "cloud"}),)) == (issue_id,)
    assert violated((frozenset({a, c, "cloud"}),)) == ()


@issues
def test_every_pair_violates_its_issue_and_no_other(issue: DemoIssue) -> None:
    for a, b in product(issue.members(issue.a), issue.members(issue.b)):
        assert violated((frozenset({a, b}),)) == (issue.id,)


@issues
def test_look_alikes_violate_nothing(issue: DemoIssue) -> None:
    for a in issue.members(issue.a):
        assert violated((frozenset({a}),)) == ()
        for c in benign(issue):
            assert violated((frozenset({a, c}),)) == ()
        for b in issue.members(issue.b):
            assert violated((frozenset({b}),)) == ()
            assert violated((frozenset({a}), frozenset({b}))) == ()


def test_one_shot_can_violate_two_issues() -> None:
    assert violated((frozenset({"axe", "boy", "dog"}),)) == ("weapon_threat", "animal_cruelty")
    assert violated((frozenset({"beer", "smoking", "girl"}),)) == ("underage_drinking", "smoking_promotion")


@given(st.lists(names, max_size=3).map(tuple))
def test_shots_are_judged_one_by_one(shots: tuple[frozenset[str], ...]) -> None:
    together = set(violated(shots))
    assert together == {issue for shot in shots for issue in violated((shot,))}


@given(names, names)
def test_more_in_a_shot_never_excuses_it(shot: frozenset[str], more: frozenset[str]) -> None:
    assert set(violated((shot,))) <= set(violated((shot | more,)))


@given(names)
def test_nothing_is_violated_without_a_trigger(shot: frozenset[str]) -> None:
    without = frozenset(name for name in shot if ROLE_OF.get(name) not in TRIGGER_ROLES)
    assert violated((without,)) == ()


def test_a_name_plays_one_role_and_nothing_ambiguous_plays_any() -> None:
    assert sum(map(len, ROLES.values())) == len(ROLE_OF)
    assert not set(ROLE_OF) & AMBIGUOUS


def test_no_role_is_both_a_trigger_and_a_partner() -> None:
    assert not TRIGGER_ROLES & {role for issue in ISSUES for role in issue.b + issue.c}
