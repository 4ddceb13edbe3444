"""The seed records: what is kept, who may change it, and what is answered where they cannot be reached."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from router_svc.seeds.records import SeedRecords
from router_svc.seeds.tables import metadata
from services.contracts import SeedChange, SeedRemoval, SeedStats
from services.database import Database
from services.errors import Conflict, NotFound, NotReady, PreconditionFailed
from tests.integration.router.records.conftest import KEPT, OLD, START, STRANGE, Open, add, open_all, seed, vectors
from tests.servers import PostgresServer


async def test_a_seed_is_kept_whole(records: SeedRecords, replica: Open) -> None:
    other_zone = timezone(timedelta(hours=-7))
    made = seed(
        1,
        kind="text",
        text="a house on fire",
        state="paused",
        expires_at=datetime(2031, 1, 2, 3, 4, 5, 678901, tzinfo=other_zone),
        created_at=START.astimezone(other_zone),
        note="\U0001f525",
    )
    assert await records.add(made, {OLD: vectors(1)}) == (made, True)
    found = await replica().get(made.id)
    assert found == made
    assert found.expires_at is not None
    assert {found.created_at.tzinfo, found.expires_at.tzinfo} == {UTC}
    [row] = await records.changes(0, None)
    assert (row.id, row.issue, row.kind, row.state, row.share) == (made.id, "arson", "text", "paused", 0.1)
    assert (row.expires_at, row.vectors, row.updated_at, row.change) == (made.expires_at, 2, made.updated_at, 1)


async def test_the_ends_of_the_calendar_and_strange_text_are_kept_as_far_as_they_can_be(records: SeedRecords) -> None:
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    early = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    made, _ = await records.add(seed(1, expires_at=late, created_at=early, note=STRANGE, text=STRANGE), {})
    assert made.expires_at is not None
    assert made.expires_at.year == 9999
    assert made.created_at.year == 1
    assert made.note == made.text == KEPT
    changed = await records.change(made.id, SeedChange(note=STRANGE, expires_at=early), version=1, by=STRANGE)
    assert (changed.note, changed.updated_by) == (KEPT, KEPT)
    removed = await records.remove(made.id, STRANGE, version=2, by="key_2")
    assert removed.removed is not None
    assert removed.removed.why == KEPT


async def test_a_seed_that_is_there_is_answered_as_it_is_recorded(records: SeedRecords) -> None:
    [first] = await add(records, 1, note="first")
    again, new = await records.add(seed(1, note="second", state="paused"), {OLD: vectors(2)})
    assert (again, new) == (first, False)
    assert np.array_equal((await records.vectors(OLD, [first.id]))[first.id], vectors(1))
    assert (await records.bank()).change == 1


async def test_the_same_seed_from_many_replicas_is_one(replica: Open) -> None:
    several = await open_all(replica, 6)
    added = await asyncio.gather(*(each.add(seed(1), {OLD: vectors(1)}) for each in several))
    assert sorted(new for _, new in added) == [False] * 5 + [True]


async def test_an_unknown_id_is_not_found(records: SeedRecords) -> None:
    for seed_id in ("f" * 32, "\x00", "", "x" * 10_000, "f" * 32 + "\n", "'; DROP TABLE seeds; --"):
        with pytest.raises(NotFound):
            await records.get(seed_id)
        with pytest.raises(NotFound):
            await records.change(seed_id, SeedChange(note="n"), version=None, by="key_2")
        with pytest.raises(NotFound):
            await records.remove(seed_id, "why", version=None, by="key_2")
        assert await records.quarantine(seed_id, "why") is None
    assert (await records.bank()).change == 0


async def test_a_change_raises_the_version_and_leaves_the_rest(records: SeedRecords) -> None:
    [made] = await add(records, 1, note="n", expires_at=START)
    before = datetime.now(UTC)
    changed = await records.change(made.id, SeedChange(share=0.5, expires_at=None), version=1, by="key_2")
    told = {"share": 0.5, "expires_at": None, "version": 2, "updated_by": "key_2", "updated_at": changed.updated_at}
    assert changed == made.model_copy(update=told)
    assert before <= changed.updated_at <= datetime.now(UTC)
    assert await records.get(made.id) == changed
    assert (await records.change(made.id, SeedChange(note=""), version=None, by="key_2")).version == 3


async def test_two_operators_cannot_overwrite_each_other(replica: Open) -> None:
    records = replica()
    [made] = await add(records, 1)
    several = enumerate(await open_all(replica, 6))
    changes = (each.change(made.id, SeedChange(note=str(n)), version=1, by=f"key_{n}") for n, each in several)
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert sum(isinstance(each, PreconditionFailed) for each in results) == 5
    kept = await records.get(made.id)
    assert kept.version == 2
    assert kept in results
    with pytest.raises(PreconditionFailed):
        await records.remove(made.id, "why", version=1, by="key_2")


async def test_a_removed_seed_is_a_tombstone_until_it_is_made_active(records: SeedRecords) -> None:
    [made] = await add(records, 1)
    removed = await records.remove(made.id, "not a fire", version=1, by="key_2")
    assert removed.removed is not None
    assert (removed.state, removed.removed.by, removed.removed.why) == ("removed", "key_2", "not a fire")
    assert removed.version == 2
    with pytest.raises(Conflict):
        await records.add(seed(1), {OLD: vectors(1)})
    with pytest.raises(Conflict):
        await records.remove(made.id, "again", version=None, by="key_3")
    for refused in (SeedChange(note="n"), SeedChange(state="paused"), SeedChange(share=0.5)):
        with pytest.raises(Conflict):
            await records.change(made.id, refused, version=None, by="key_3")
    assert await records.get(made.id) == removed
    assert await records.quarantine(made.id, "why") is None
    back = await records.change(made.id, SeedChange(state="active", note="it is"), version=2, by="key_3")
    assert (back.state, back.removed, back.note, back.version) == ("active", None, "it is", 3)
    assert list(await records.vectors(OLD, [made.id])) == [made.id]


async def test_the_watch_quarantines_an_active_seed_and_an_operator_lifts_it(records: SeedRecords) -> None:
    [made] = await add(records, 1)
    held = await records.quarantine(made.id, "too wide")
    assert held is not None
    assert (held.state, held.quarantined_why, held.updated_by, held.version) == ("quarantined", "too wide", "watch", 2)
    assert await records.quarantine(made.id, "twice") is None
    noted = await records.change(made.id, SeedChange(note="looked at"), version=2, by="key_2")
    assert (noted.state, noted.quarantined_why) == ("quarantined", "too wide")
    lifted = await records.change(made.id, SeedChange(state="active"), version=3, by="key_2")
    assert (lifted.state, lifted.quarantined_why) == ("active", None)
    await records.change(made.id, SeedChange(state="paused"), version=4, by="key_2")
    assert await records.quarantine(made.id, "paused") is None


async def test_a_restored_seed_is_as_it_was_but_for_its_version_and_who_restored_it(records: SeedRecords) -> None:
    removal = SeedRemoval(at=START, by="key_9", why="wrong")
    stats = SeedStats(hits=9, confirmed=1, refuted=8, last_hit_at=START)
    copy = seed(1, version=7, state="removed", removed=removal, stats=stats, quarantined_why="w")
    before = datetime.now(UTC)
    kept, new = await records.restore(copy, {OLD: vectors(1)}, by="key_3")
    assert new
    assert before <= kept.updated_at <= datetime.now(UTC)
    assert kept == copy.model_copy(update={"version": 1, "updated_at": kept.updated_at, "updated_by": "key_3"})
    assert (await records.trials([copy.id]))[copy.id].hits == 0
    assert await records.restore(seed(1, note="another"), {}, by="key_4") == (kept, False)


async def test_records_that_cannot_be_reached_are_not_ready_until_they_are(
    postgres: PostgresServer,
) -> None:
    records = SeedRecords(Database(postgres.url, metadata, pool_size=2, timeout_s=10.0))
    postgres.kill()
    try:
        for ask in (records.open, records.check, records.bank, lambda: records.add(seed(1), {})):
            with pytest.raises(NotReady):
                await ask()
    finally:
        postgres.start()
    await add(records, 1)
    await records.check()
    await records.close()
