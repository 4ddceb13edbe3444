"""Scenes keep what their kind promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.demo_world.scene import FPS, SPRITE_SIZE, WORLD_SIZE, Pools, Scene, collage, compose
from offline.demo_world.splits import KINDS, SPLITS, Split, guilty_segment, scene_at
from offline.demo_world.taxonomy import (
    EXTRA_BENIGN,
    ISSUES,
    ISSUES_BY_ID,
    LOOK_ALIKES,
    ROLE_OF,
    TRIGGER_ROLES,
    LookAlike,
    violated,
)

COUNT = 96  # of a kind: every issue takes turns with every sort of look-alike
NEUTRAL_POOL = ("cloud", "watch", "guitar", "tulip", "rainbow")
POOLS = Pools(NEUTRAL_POOL, (*NEUTRAL_POOL, "bug", "lemon", "luggage"))
kinds = pytest.mark.parametrize("kind", KINDS)


def scenes(kind: str, pools: Pools, split: Split = "test", count: int = COUNT) -> list[Scene]:
    return [scene_at(5, split, kind, index, pools) for index in range(count)]  # type: ignore[arg-type]


def members(issue_id: str) -> tuple[set[str], set[str], set[str]]:
    issue = ISSUES_BY_ID[issue_id]
    benign = issue.members(issue.c) + EXTRA_BENIGN.get(issue_id, ())
    return set(issue.members(issue.a)), set(issue.members(issue.b)), set(benign)


@kinds
def test_the_same_seed_gives_the_same_scene(kind: str, pools: Pools) -> None:
    assert scenes(kind, pools, count=6) == scenes(kind, pools, count=6)


def test_another_seed_gives_another_scene(pools: Pools) -> None:
    assert scene_at(5, "test", "other", 0, pools).shots != scene_at(6, "test", "other", 0, pools).shots


@kinds
def test_no_scene_and_no_id_is_in_two_splits(kind: str, pools: Pools) -> None:
    drawn = [scene for split in SPLITS for scene in scenes(kind, pools, split, 24)]
    assert len({scene.id for scene in drawn}) == len(drawn)
    assert len({scene.shots for scene in drawn}) == len(drawn)


def test_only_the_held_out_split_has_the_held_out_style(pools: Pools) -> None:
    for split in SPLITS:
        styles = {scene.style for scene in scenes("violation", pools, split, 24)}
        assert styles == ({"openmoji"} if split == "test_openmoji" else {"noto", "twemoji"})


def test_violations_violate_their_issue_in_turn(pools: Pools) -> None:
    for index, scene in enumerate(scenes("violation", pools)):
        assert scene.issues == (ISSUES[index % len(ISSUES)].id,)
        assert scene.look_alike is None


@pytest.mark.parametrize("kind", ["look_alike", "other"])
def test_clean_kinds_violate_nothing(kind: str, pools: Pools) -> None:
    assert {scene.issues for scene in scenes(kind, pools)} == {()}


def test_look_alikes_cover_every_issue_and_sort_evenly(pools: Pools) -> None:
    found = {(scene.look_alike_of, scene.look_alike) for scene in scenes("look_alike", pools, count=32)}
    assert found == {(issue.id, sort) for issue in ISSUES for sort in LOOK_ALIKES}


@pytest.mark.parametrize("sort", LOOK_ALIKES)
def test_a_look_alike_shows_what_its_sort_says(sort: LookAlike, pools: Pools) -> None:
    chosen = [scene for scene in scenes("look_alike", pools, count=128) if scene.look_alike == sort]
    assert len(chosen) == 32
    for scene in chosen:
        assert scene.look_alike_of
        a, b, c = members(scene.look_alike_of)
        key = [frozenset(shot.names & set(ROLE_OF)) for shot in scene.shots if shot.names & set(ROLE_OF)]
        if sort == "a_with_c":
            assert len(key) == 1
            assert len(key[0]) == 2
            assert key[0] & a
            assert key[0] & c
        elif sort == "a_alone":
            assert len(key) == 1
            assert len(key[0]) == 1
            assert key[0] <= a
        elif sort == "b_alone":
            assert len(key) == 1
            assert len(key[0]) == 1
            assert key[0] <= b
        else:
            assert len(key) == 2
            assert {frozenset(shot & a) for shot in key} - {frozenset()}
            assert {frozenset(shot & b) for shot in key} - {frozenset()}
            assert all(len(shot) == 1 for shot in key)


def test_halves_of_a_split_violation_come_in_both_orders(pools: Pools) -> None:
    first = set()
    for scene in scenes("look_alike", pools, count=128):
        if scene.look_alike == "split_shots" and scene.look_alike_of:
            key = [shot.names & set(ROLE_OF) for shot in scene.shots if shot.names & set(ROLE_OF)]
            first.add(bool(key[0] & members(scene.look_alike_of)[0]))
    assert first == {True, False}


@pytest.mark.parametrize("kind", ["violation", "look_alike"])
def test_distractors_beside_a_trigger_are_neutral(kind: str, pools: Pools) -> None:
    with_trigger = 0
    for scene in scenes(kind, pools):
        for shot in scene.shots:
            roles = {ROLE_OF.get(name) for name in shot.names}
            if roles & TRIGGER_ROLES:
                with_trigger += 1
                assert {name for name in shot.names if name not in ROLE_OF} <= set(pools.neutral)
                assert sum(name in ROLE_OF for name in shot.names) <= 2
    assert with_trigger > COUNT / 2


def test_other_videos_hold_no_trigger_but_everything_else(pools: Pools) -> None:
    seen = {name for scene in scenes("other", pools, count=200) for shot in scene.shots for name in shot.names}
    assert not {ROLE_OF.get(name) for name in seen} & TRIGGER_ROLES
    assert {"boy", "dog", "house"} & seen
    assert set(pools.others) - set(pools.neutral) & seen


@kinds
def test_times(kind: str, pools: Pools) -> None:
    counts = set()
    for scene in scenes(kind, pools):
        assert 3.0 <= scene.duration_s <= 6.0
        assert scene.shots[0].start_s == 0.0
        edges = [*(shot.start_s for shot in scene.shots), scene.duration_s]
        assert [shot.end_s for shot in scene.shots] == edges[1:], "a gap between shots"
        assert all(edge * FPS == round(edge * FPS) for edge in edges), "a cut between two frames"
        shares = np.diff(edges) / scene.duration_s * len(scene.shots)
        assert shares.min() >= 0.6
        counts.add(len(scene.shots))
    assert counts == {1, 2, 3}


@kinds
def test_sprites(kind: str, pools: Pools) -> None:
    for scene in scenes(kind, pools, count=32):
        for shot in scene.shots:
            assert 2 <= len(shot.sprites) <= 4
            assert len(shot.names) == len(shot.sprites), "a thing stands in a shot once"
            for sprite in shot.sprites:
                assert SPRITE_SIZE[0] <= min(sprite.size) <= max(sprite.size) <= SPRITE_SIZE[1]
                assert min(*sprite.start, *sprite.end) > 0
                assert max(*sprite.start, *sprite.end) < WORLD_SIZE


def test_titles_name_what_is_there_or_say_nothing(pools: Pools) -> None:
    titles = [scene.title for scene in scenes("violation", pools)]
    assert 0.3 < np.mean([bool(title) for title in titles]) < 0.7
    for scene in scenes("violation", pools):
        things = {name.replace("_", " ").replace("-", " ") for shot in scene.shots for name in shot.names}
        if "compilation" in scene.title:
            assert scene.title.removesuffix(" compilation") in things


def test_the_guilty_segment_is_the_first_shot_that_violates(pools: Pools) -> None:
    later = 0
    for scene in scenes("violation", pools):
        (issue,) = scene.issues
        start, end = guilty_segment(scene, issue)
        (shot,) = [shot for shot in scene.shots if (shot.start_s, shot.end_s) == (start, end)]
        assert violated((shot.names,)) == (issue,)
        later += start > 0
    assert later > 0


def test_a_clean_scene_has_no_guilty_segment(pools: Pools) -> None:
    with pytest.raises(ValueError, match="does not violate arson"):
        guilty_segment(scene_at(5, "test", "other", 0, pools), "arson")


def test_shot_at_follows_the_cuts(pools: Pools) -> None:
    scene = next(scene for scene in scenes("other", pools) if len(scene.shots) == 3)
    first, second, third = scene.shots
    assert scene.shot_at(0.0) is first
    assert scene.shot_at(second.start_s) is second
    assert scene.shot_at(second.end_s - 1e-6) is second
    assert scene.shot_at(scene.duration_s + 1) is third


@given(st.integers(0, 2**32 - 1), st.sampled_from(ISSUES), st.sampled_from(LOOK_ALIKES))
def test_the_promise_holds_for_any_seed(seed: int, issue: object, sort: LookAlike) -> None:
    issue_id = issue.id  # type: ignore[attr-defined]

    def drawn(kind: str) -> Scene:
        return compose(
            np.random.default_rng(seed),
            POOLS,
            video_id="x",
            kind=kind,  # type: ignore[arg-type]
            styles=("noto",),
            issue=issue_id,
            look_alike=sort,
        )

    assert drawn("violation").issues == (issue_id,)
    assert drawn("look_alike").issues == ()
    assert drawn("look_alike").look_alike == sort
    assert drawn("other").issues == ()


def test_a_collage_holds_every_name_it_was_given() -> None:
    given_names = ["boy", "boy", "cloud", "axe", "dog"]
    shot = collage(np.random.default_rng(0), given_names)
    assert [sprite.name for sprite in shot.sprites] == given_names
