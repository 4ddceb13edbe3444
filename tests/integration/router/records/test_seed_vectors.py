"""The seed records: vectors under several encoders, and what is counted over all replicas."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select

from router_svc.seeds.records import SeedRecords
from router_svc.seeds.tables import seed_vectors
from router_svc.seeds.watch import SeedHits
from services.contracts import SeedChange, SeedStats
from tests.integration.router.records.conftest import NEW, OLD, START, Open, add, open_all, seed, vectors


async def test_counts_are_added_up_over_replicas_and_are_no_change(replica: Open) -> None:
    records = replica()
    made = await add(records, *range(40))
    at = [START + timedelta(seconds=each) for each in range(8)]
    hits = [[SeedHits(each.id, 3, 2, 1, time) for each in made[1:]] for time in at]
    several = enumerate(await open_all(replica, 8))
    # Each in another order, so that they would wait for one another.
    await asyncio.gather(*(each.count(hits[n] if n % 2 else hits[n][::-1]) for n, each in several))
    first = made[1]
    await records.count([SeedHits("f" * 32, 1, 0, 0, START)])
    await records.count([])
    found = await records.get(first.id)
    assert found.stats == SeedStats(hits=24, confirmed=16, refuted=8, last_hit_at=at[-1])
    assert found.model_copy(update={"stats": SeedStats()}) == first
    assert await records.trials([first.id, made[0].id]) == {first.id: found.stats, made[0].id: SeedStats()}
    assert await records.trials(["f" * 32]) == {}
    assert (await records.bank()).change == 40


@pytest.mark.parametrize("taken_out", ["quarantined", "paused", "removed"])
async def test_made_active_again_a_seed_has_a_new_trial_and_its_whole_history(
    records: SeedRecords, taken_out: str
) -> None:
    [made] = await add(records, 1)
    await records.count([SeedHits(made.id, 9, 1, 8, START)])
    match taken_out:
        case "quarantined":
            await records.quarantine(made.id, "why")
        case "paused":
            await records.change(made.id, SeedChange(state="paused"), version=None, by="key_2")
        case _:
            await records.remove(made.id, "why", version=None, by="key_2")
    assert (await records.trials([made.id]))[made.id].refuted == 8
    await records.change(made.id, SeedChange(state="active"), version=None, by="key_2")
    await records.count([SeedHits(made.id, 2, 1, 0, START)])
    await records.change(made.id, SeedChange(state="active"), version=None, by="key_2")  # it is: nothing begins
    tried = (await records.trials([made.id]))[made.id]
    assert (tried.hits, tried.confirmed, tried.refuted) == (2, 1, 0)
    whole = (await records.get(made.id)).stats
    assert (whole.hits, whole.confirmed, whole.refuted) == (11, 2, 8)


async def test_vectors_are_kept_by_encoder_to_the_bit(records: SeedRecords) -> None:
    made = await add(records, *range(4))
    ids = [each.id for each in made]
    found = await records.vectors(OLD, [*ids, "f" * 32])
    assert set(found) == set(ids)
    for number, seed_id in enumerate(ids):
        assert found[seed_id].dtype == np.float32
        assert np.array_equal(found[seed_id], vectors(number))
    assert await records.vectors(NEW, ids) == {}
    assert await records.vectors(OLD, []) == {}
    strided = np.ones((4, 6), dtype=">f4")[::2, ::2]
    await records.put_vectors(NEW, {ids[0]: vectors(9), ids[1]: strided})
    await records.put_vectors(NEW, {ids[0]: vectors(10)})
    await records.put_vectors(NEW, {})
    built = await records.vectors(NEW, ids)
    assert np.array_equal(built[ids[0]], vectors(10))
    assert np.array_equal(built[ids[1]], np.ones((2, 3), dtype=np.float32))
    assert np.array_equal((await records.vectors(OLD, ids))[ids[0]], vectors(0))
    query = select(seed_vectors.c.data).where(seed_vectors.c.encoder == NEW, seed_vectors.c.dim == 3)
    [row] = await records._rows(query)
    assert row["data"] == 6 * b"\x00\x00\x80\x3f"


async def test_more_seeds_than_a_statement_takes_parameters(records: SeedRecords) -> None:
    await add(records, 1)
    ids = [seed(1).id, *(f"{number:032x}" for number in range(70_000))]
    assert list(await records.vectors(OLD, ids)) == ids[:1]
    assert list(await records.trials(ids)) == ids[:1]


async def test_what_an_encoder_lacks_is_listed_in_parts(records: SeedRecords) -> None:
    made = sorted(await add(records, *range(7)), key=lambda each: each.id)
    await records.change(made[1].id, SeedChange(state="paused"), version=1, by="key_2")
    await records.remove(made[2].id, "why", version=1, by="key_2")
    await records.put_vectors(NEW, {made[0].id: vectors(0)})
    lacking, after = [], ""
    while part := await records.without_vectors(NEW, after, 2):
        lacking += [each.id for each in part]
        after = lacking[-1]
    assert lacking == [made[number].id for number in (1, 3, 4, 5, 6)]
    assert await records.counts(NEW) == (1, 6)
    assert await records.counts(OLD) == (6, 6)


async def test_the_removed_are_listed_by_time(records: SeedRecords) -> None:
    first, second, _ = await add(records, 1, 2, 3)
    await records.remove(first.id, "why", version=1, by="key_2")
    between = datetime.now(UTC)
    await records.remove(second.id, "why", version=1, by="key_2")
    assert await records.removed_before(between) == [first.id]
    assert set(await records.removed_before(datetime.now(UTC))) == {first.id, second.id}
