"""The catalogue of seeds: which are searched for, with which videos, and what names that state."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from router_svc.bank.protocol import Group
from router_svc.seeds.catalogue import Catalogue, Row

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=10)
LATER = NOW + timedelta(seconds=20)
VIDEOS = [f"{number:064x}" for number in range(400)]


def row(number: int, change: int | None = None, **values: object) -> Row:
    known = Row(
        id=f"{number:032x}",
        issue="arson",
        kind="golden",
        state="active",
        share=1.0,
        expires_at=None,
        vectors=4,
        updated_at=NOW,
        change=number if change is None else change,
    )
    return replace(known, **values)  # type: ignore[arg-type]


def excluded(catalogue: Catalogue, video: str, now: datetime) -> set[str]:
    """The seeds of every group that the video is not compared with."""
    return {seed_id for of_group in catalogue.excluded(video, now).values() for seed_id in of_group}


def of(*rows: Row) -> Catalogue:
    made = Catalogue()
    made.apply(rows)
    return made


def test_only_active_seeds_are_searchable() -> None:
    rows = [row(1), row(2, state="paused"), row(3, state="quarantined"), row(4, state="removed")]
    catalogue = of(*rows)
    assert dict(catalogue.searchable(NOW)) == {rows[0].id: rows[0]}
    assert [catalogue.row(each.id) for each in rows] == rows
    assert list(catalogue.rows()) == rows
    assert catalogue.row("f" * 32) is None
    assert catalogue.last_change == 4


def test_a_change_takes_a_seed_out_and_brings_it_back() -> None:
    catalogue = of(row(1))
    for change, state in enumerate(("paused", "active", "quarantined", "active", "removed"), start=2):
        catalogue.apply([row(1, change, state=state)])
        assert bool(catalogue.searchable(NOW)) is (state == "active")
        assert bool(catalogue.groups(NOW)) is (state == "active")
    assert catalogue.last_change == 6


def test_an_older_row_does_not_undo_a_newer_one() -> None:
    catalogue = of(row(1, 7, state="removed"))
    catalogue.apply([row(1, 3), row(1, 7)])
    assert not catalogue.searchable(NOW)
    assert catalogue.last_change == 7


def test_what_was_returned_stays_as_it_was() -> None:
    catalogue = of(row(1), row(2))
    before = catalogue.searchable(NOW)
    catalogue.apply([row(1, 3, state="removed")])
    assert len(before) == 2
    assert len(catalogue.searchable(NOW)) == 1


def test_a_seed_expires_by_itself_and_not_before() -> None:
    catalogue = of(row(1, expires_at=SOON), row(2, expires_at=LATER), row(3))
    ids = [row(number).id for number in (1, 2, 3)]
    revisions = []
    for now, expired in ((NOW, 0), (SOON - timedelta(microseconds=1), 0), (SOON, 1), (LATER, 2)):
        assert set(catalogue.searchable(now)) == set(ids[expired:])
        assert excluded(catalogue, VIDEOS[0], now) == set(ids[:expired])
        revisions.append(catalogue.revision("e", now))
    assert revisions[0] == revisions[1]
    assert len(set(revisions)) == 3


def test_an_expired_seed_is_passed_over_until_the_index_has_put_it_away() -> None:
    first, second = row(1, expires_at=SOON), row(2, expires_at=SOON)
    catalogue = of(first, second, row(3))
    assert (catalogue.expired(NOW), catalogue.expired(SOON)) == (frozenset(), {first.id, second.id})
    revision = catalogue.revision("e", SOON)
    catalogue.put_away([first.id, row(3).id])
    assert catalogue.expired(SOON) == excluded(catalogue, VIDEOS[0], SOON) == {second.id}
    assert set(catalogue.searchable(LATER)) == {row(3).id}
    assert catalogue.revision("e", SOON) == revision
    catalogue.apply([row(1, 4, expires_at=LATER)])
    assert first.id in catalogue.searchable(SOON)
    assert catalogue.expired(LATER) == {first.id, second.id}


def test_what_the_index_misses_is_searched_for_once_it_has_arrived() -> None:
    first, second = row(1), row(2)
    catalogue = Catalogue()
    catalogue.apply([first, second, row(3, state="paused")], missing={first.id, row(3).id})
    assert set(catalogue.searchable(NOW)) == {second.id}
    assert [catalogue.misses(each.id) for each in (first, second, row(3))] == [True, False, False]
    assert catalogue.last_change == 3
    revision = catalogue.revision("e", NOW)
    catalogue.arrived([first.id, second.id, row(3).id, row(4).id])
    assert set(catalogue.searchable(NOW)) == {first.id, second.id}
    assert not catalogue.misses(first.id)
    assert catalogue.revision("e", NOW) == of(first, second).revision("e", NOW) != revision
    catalogue.apply([row(1, 4)], missing={first.id})
    assert set(catalogue.searchable(NOW)) == {second.id}
    catalogue.apply([row(1, 5, state="removed")])
    catalogue.arrived([first.id])
    assert set(catalogue.searchable(NOW)) == {second.id}


def test_a_row_is_searchable_until_it_expires() -> None:
    assert [row(1, expires_at=SOON).searchable(now) for now in (NOW, SOON)] == [True, False]
    assert row(1).searchable(LATER)
    assert not row(1, state="paused").searchable(NOW)


def test_an_expiry_may_be_moved_and_taken_away() -> None:
    catalogue = of(row(1, expires_at=SOON))
    catalogue.apply([row(1, 2, expires_at=LATER)])
    assert catalogue.searchable(SOON)
    assert not catalogue.searchable(LATER)
    catalogue.apply([row(1, 3)])
    assert catalogue.searchable(LATER)
    assert not excluded(catalogue, VIDEOS[0], LATER)
    catalogue.apply([row(1, 4, expires_at=SOON)])
    assert not catalogue.searchable(LATER)
    catalogue.apply([row(1, 5, expires_at=SOON, state="removed")])
    assert not excluded(catalogue, VIDEOS[0], LATER)


def test_groups_are_those_with_a_searchable_seed() -> None:
    catalogue = of(row(1), row(2, kind="negative"), row(3, issue="smoking", expires_at=SOON), row(4, kind="text"))
    arson = {Group("arson", False), Group("arson", True)}
    assert catalogue.groups(NOW) == arson | {Group("smoking", False)}
    assert catalogue.groups(SOON) == arson
    catalogue.apply([row(1, 5, state="paused")])
    assert catalogue.groups(SOON) == arson
    catalogue.apply([row(4, 6, kind="text", state="paused")])
    assert catalogue.groups(SOON) == {Group("arson", True)}


def test_issues_are_those_with_a_seed_that_is_not_removed() -> None:
    catalogue = of(
        row(1, state="paused"), row(2, issue="smoking", expires_at=NOW), row(3, issue="knife", state="removed")
    )
    assert catalogue.issues() == {"arson", "smoking"}
    catalogue.apply([row(1, 4, state="removed"), row(3, 5, issue="knife"), row(3, 6, issue="knife", share=0.5)])
    assert catalogue.issues() == {"smoking", "knife"}


@pytest.mark.parametrize("kind", ["golden", "negative"])
def test_a_share_of_traffic_leaves_out_the_rest_of_the_videos(kind: str) -> None:
    small, whole = row(1, share=0.25, kind=kind), row(2)
    catalogue = of(small, whole)
    assert catalogue.shares() == {small.id: 0.25}
    assert {group for video in VIDEOS for group in catalogue.excluded(video, NOW)} == {small.group}
    left_out = [excluded(catalogue, video, NOW) for video in VIDEOS]
    assert all(each <= {small.id} for each in left_out)
    assert 0.65 < sum(map(bool, left_out)) / len(VIDEOS) < 0.85
    catalogue.apply([replace(small, share=0.5, change=3)])
    raised = [excluded(catalogue, video, NOW) for video in VIDEOS]
    assert all(after <= before for after, before in zip(raised, left_out, strict=True))
    catalogue.apply([replace(small, share=0.5, change=4, state="paused")])
    assert not any(excluded(catalogue, video, NOW) for video in VIDEOS)


def test_the_revision_names_the_encoder_and_the_searchable_seeds_with_their_shares() -> None:
    rows = [row(number, share=0.5 if number % 3 else 1.0) for number in range(1, 9)]
    revision = of(*rows).revision("e", NOW)
    assert len(revision) == 16
    assert set(revision) <= set("0123456789abcdef")
    random.Random(0).shuffle(rows)
    assert of(*rows).revision("e", NOW) == revision
    same = [*rows, row(10, state="paused"), row(11, state="removed"), row(12, expires_at=NOW)]
    assert of(*same).revision("e", NOW) == revision
    assert of(*(replace(each, change=each.change + 50, issue="knife") for each in rows)).revision("e", NOW) == revision
    others = [
        of(*rows).revision("f", NOW),
        of(*rows[1:]).revision("e", NOW),
        of(*rows, row(13)).revision("e", NOW),
        of(*rows[1:], replace(rows[0], share=0.125)).revision("e", NOW),
        Catalogue().revision("e", NOW),
    ]
    assert len({revision, *others}) == 6


def test_the_revision_after_many_changes_is_that_of_a_new_catalogue() -> None:
    rng, catalogue, last = random.Random(1), Catalogue(), {}
    for change in range(1, 600):
        number = rng.randrange(30)
        state = rng.choice(("active", "active", "paused", "removed"))
        expires = rng.choice((None, NOW + timedelta(seconds=rng.randrange(700))))
        last[number] = row(number, change, state=state, share=rng.choice((1.0, 0.5)), expires_at=expires)
        catalogue.apply([last[number]])
        now = NOW + timedelta(seconds=change)
        fresh = of(*last.values())
        assert catalogue.revision("e", now) == fresh.revision("e", now)
        assert dict(catalogue.searchable(now)) == dict(fresh.searchable(now))
        assert catalogue.groups(now) == fresh.groups(now)
        assert excluded(catalogue, VIDEOS[0], now) == excluded(fresh, VIDEOS[0], now)


def test_what_is_asked_with_every_video_is_made_once() -> None:
    catalogue = of(*(row(number) for number in range(1, 9)), row(9, expires_at=LATER))
    made = catalogue.searchable(NOW)
    assert catalogue.searchable(SOON) is made
    assert catalogue.revision("e", NOW) is catalogue.revision("e", SOON)
    assert catalogue.searchable(LATER) is not made
