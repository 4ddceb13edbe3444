"""The bank's row: which encoder is live, who builds the next one, and the way back."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from router_svc.seeds.records import BankRow, SeedRecords
from router_svc.seeds.records_bank import STALE_S
from router_svc.seeds.tables import metadata, seed_bank
from services.contracts import EncoderSpec, ReindexStatus
from services.database import Database
from services.errors import Conflict, NotFound
from tests.integration.router.records.conftest import NEW, OLD, Open, add, open_all

SMALL, LARGE = EncoderSpec(model="/models/small"), EncoderSpec(model="ViT-B-32", pretrained="tag", precision="bf16")
THIRD = "2" * 16


def begun(number: int = 0, encoder: str = "") -> ReindexStatus:
    at = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=number)
    return ReindexStatus(encoder=encoder, state="building", done=0, total=0, started_at=at, started_by=f"key_{number}")


async def falls_silent(url: str) -> None:
    """What the row looks like when the replica that builds has been dead for long enough."""
    database = Database(url, metadata, pool_size=1, timeout_s=20.0)
    at = datetime.now(UTC) - timedelta(seconds=STALE_S + 1)
    await database.write(lambda connection: connection.execute(update(seed_bank).values(beat_at=at)))
    await database.close()


async def test_a_new_bank_has_no_live_encoder(records: SeedRecords) -> None:
    assert await records.bank() == BankRow(change=0)


async def test_the_first_to_claim_has_the_live_encoder(replica: Open) -> None:
    rows = await asyncio.gather(*(replica().claim_live(f"{n}" * 16, SMALL) for n in range(5)))
    # A bank without seeds may be claimed again; then one keeps it.
    assert {row.live for row in rows} == {f"{n}" * 16 for n in range(5)}
    records = replica()
    live = (await records.bank()).live
    await add(records, 1)
    kept = await records.claim_live("f" * 16, LARGE)
    assert (kept.live, kept.live_spec) == (live, SMALL)


async def test_a_bank_whose_seeds_are_all_removed_may_be_claimed(records: SeedRecords) -> None:
    await records.claim_live(OLD, SMALL)
    [made] = await add(records, 1)
    await records.remove(made.id, "why", version=1, by="key_2")
    claimed = await records.claim_live(NEW, LARGE)
    assert (claimed.live, claimed.live_spec) == (NEW, LARGE)
    assert await records.bank() == claimed


async def test_a_forced_claim_takes_the_place_and_keeps_the_way_back(records: SeedRecords) -> None:
    await records.claim_live(OLD, SMALL)
    await add(records, 1)
    before = (await records.bank()).change
    forced = await records.claim_live(NEW, LARGE, force=True)
    assert (forced.live, forced.live_spec, forced.previous, forced.previous_spec) == (NEW, LARGE, OLD, SMALL)
    assert forced.change == before + 1
    assert await records.claim_live(NEW, LARGE, force=True) == forced


def run_of(row: BankRow | None) -> str:
    assert row is not None
    assert row.run is not None
    return row.run


async def test_an_encoder_is_built_switched_to_and_left_again(records: SeedRecords) -> None:
    await records.claim_live(OLD, SMALL)
    await add(records, 1)
    with pytest.raises(NotFound):
        await records.switch(NEW, LARGE)
    row = await records.begin_reindex(begun(), LARGE)
    run = run_of(row)
    assert (row.reindex, row.reindex_spec, row.live) == (begun(), LARGE, OLD)
    assert row.beat_at is not None
    assert await records.progress(run, 3, 5, NEW)
    status = (await records.bank()).reindex
    assert status == begun().model_copy(update={"encoder": NEW, "done": 3, "total": 5})
    with pytest.raises(NotFound):
        await records.switch(NEW, LARGE)
    live = await records.switch(NEW, LARGE, run=run)
    assert (live.live, live.live_spec, live.previous, live.previous_spec) == (NEW, LARGE, OLD, SMALL)
    assert live.reindex is not None
    assert live.reindex.state == "live"
    assert live.reindex.ended_at is not None
    assert live.change == row.change + 1
    assert await records.switch(NEW, LARGE) == live
    assert not await records.beat(run)
    assert not await records.progress(run, 5, 5, NEW)
    back = await records.switch(OLD, SMALL)
    assert (back.live, back.live_spec, back.previous, back.previous_spec) == (OLD, SMALL, NEW, LARGE)
    assert back.reindex == live.reindex
    assert await records.bank() == back
    with pytest.raises(Conflict):
        await records.switch(NEW, LARGE, run=run)
    assert await records.bank() == back, "who has built it does not undo the way back"


async def test_an_encoder_that_needed_no_work_is_switched_to_without_a_beat(records: SeedRecords) -> None:
    await records.claim_live(OLD, SMALL)
    run = run_of(await records.begin_reindex(begun(), LARGE))
    live = await records.switch(NEW, LARGE, run=run)
    assert live.reindex is not None
    assert (live.live, live.reindex.encoder, live.reindex.state) == (NEW, NEW, "live")


async def test_an_encoder_that_is_live_already_ends_the_building_and_stays_its_own_way_back(
    records: SeedRecords,
) -> None:
    await records.claim_live(OLD, SMALL)
    run = run_of(await records.begin_reindex(begun(), SMALL))
    live = await records.switch(OLD, SMALL, run=run)
    assert live.reindex is not None
    assert (live.live, live.previous, live.reindex.state) == (OLD, None, "live")


async def test_one_replica_builds_at_a_time(replica: Open, url: str) -> None:
    begins = (each.begin_reindex(begun(n), LARGE) for n, each in enumerate(await open_all(replica, 5)))
    results = await asyncio.gather(*begins, return_exceptions=True)
    assert sum(isinstance(each, Conflict) for each in results) == 4
    [row] = [each for each in results if isinstance(each, BankRow)]
    records = replica()
    assert await records.progress(run_of(row), 1, 9, NEW)
    assert not await records.progress("another", 1, 9, NEW)
    await falls_silent(url)
    assert await records.beat(run_of(row))
    with pytest.raises(Conflict):
        await records.begin_reindex(begun(7), SMALL)
    await falls_silent(url)
    again = await records.begin_reindex(begun(7), SMALL)
    assert (again.reindex, again.reindex_spec) == (begun(7), SMALL)


async def test_who_was_silent_for_too_long_has_lost_its_right_to_build(records: SeedRecords, url: str) -> None:
    await records.claim_live(OLD, SMALL)
    slow = run_of(await records.begin_reindex(begun(), LARGE))
    await falls_silent(url)
    taken = await records.take_over_reindex(STALE_S)
    assert run_of(taken) != slow
    assert not await records.beat(slow)
    assert not await records.progress(slow, 1, 9, NEW)
    await records.fail_reindex(slow, "its files are missing")
    with pytest.raises(Conflict):
        await records.switch(NEW, LARGE, run=slow)
    assert await records.bank() == taken
    live = await records.switch(NEW, LARGE, run=run_of(taken))
    assert live.live == NEW


async def test_what_a_dead_replica_built_is_taken_over_once(replica: Open, url: str) -> None:
    records = replica()
    assert await records.take_over_reindex(STALE_S) is None
    await records.begin_reindex(begun(), LARGE)
    assert await records.take_over_reindex(STALE_S) is None
    await falls_silent(url)
    taken = await asyncio.gather(*(each.take_over_reindex(STALE_S) for each in await open_all(replica, 5)))
    [row] = [each for each in taken if each is not None]
    assert (row.reindex, row.reindex_spec) == (begun(), LARGE)
    await records.fail_reindex(run_of(row), "no room")
    await falls_silent(url)
    assert await records.take_over_reindex(STALE_S) is None


async def test_a_failure_is_told_and_another_attempt_may_begin(records: SeedRecords) -> None:
    await records.fail_reindex("none", "nothing is built")
    assert (await records.bank()).reindex is None
    run = run_of(await records.begin_reindex(begun(), LARGE))
    await records.progress(run, 3, 5, NEW)
    await records.fail_reindex(run, "the file\x00 is gone")
    status = (await records.bank()).reindex
    assert status is not None
    assert (status.state, status.error, status.done) == ("failed", "the file\ufffd is gone", 3)
    assert status.ended_at is not None
    await records.fail_reindex(run, "twice")
    assert (await records.bank()).reindex == status
    with pytest.raises(Conflict):
        await records.switch(NEW, LARGE, run=run)
    await records.begin_reindex(begun(1), LARGE)
