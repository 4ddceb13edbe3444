"""The seed records as lists: pages for people, and changes for pollers."""

import asyncio
from typing import Any

import pytest

from router_svc.seeds.catalogue import Catalogue
from router_svc.seeds.records import SeedRecords
from services.contracts import SeedChange, SeedFilter
from services.errors import InvalidPayload
from tests.integration.router.records.conftest import START, Open, add


async def test_pages_hold_every_seed_once_newest_first(records: SeedRecords) -> None:
    # Two were added in the same microsecond.
    made = await add(records, *range(8)) + await add(records, 8, 9, created_at=START)
    expected = [each.id for each in sorted(made, key=lambda each: (each.created_at, each.id), reverse=True)]
    for limit in (1, 3, 5, 10, 11):
        found, cursor = [], None
        while True:
            page = await records.page(SeedFilter(limit=limit, cursor=cursor))
            assert len(page.seeds) <= limit
            found += [each.id for each in page.seeds]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == expected
    first = await records.page(SeedFilter(limit=4))
    await add(records, 50)
    await records.remove(first.seeds[-1].id, "why", version=None, by="key_2")
    second = await records.page(SeedFilter(limit=4, cursor=first.next_cursor))
    assert [each.id for each in second.seeds] == expected[4:8]


async def test_a_filter_names_issue_kind_and_state(records: SeedRecords) -> None:
    [fire] = await add(records, 1)
    [look_alike] = await add(records, 2, kind="negative")
    [knife] = await add(records, 3, issue="knife", state="paused")
    [gone] = await add(records, 4)
    await records.remove(gone.id, "why", version=None, by="key_2")

    async def listed(**asked: Any) -> set[str]:
        return {each.id for each in (await records.page(SeedFilter(**asked))).seeds}

    assert await listed() == {fire.id, look_alike.id, knife.id}
    assert await listed(issue="arson") == {fire.id, look_alike.id}
    assert await listed(issue="arson", kind="negative") == {look_alike.id}
    assert await listed(state="paused") == {knife.id}
    assert await listed(state="removed") == {gone.id}
    assert await listed(issue="smoking") == set()
    assert await records.states() == {"active": 2, "paused": 1, "removed": 1}


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "AAAA", "\u00e9", "===", "MjAyNi0wNS0wMQ==", "bm90IGEgdGltZSAw", "/" * 256, "\x00", "MDAwMS0wMS0wMSBm"],
)
async def test_a_cursor_of_somebody_else_is_refused(records: SeedRecords, cursor: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        await records.page(SeedFilter(cursor=cursor))
    assert caught.value.errors[0].pointer == "cursor"


async def test_changes_come_in_order_each_seed_once_as_it_is_now(records: SeedRecords) -> None:
    first, second, third = await add(records, 1, 2, 3)
    await records.change(first.id, SeedChange(share=0.7), version=1, by="key_2")
    await records.remove(second.id, "why", version=1, by="key_2")
    rows = await records.changes(0, None)
    assert [(row.id, row.change) for row in rows] == [(third.id, 3), (first.id, 4), (second.id, 5)]
    assert (rows[1].share, rows[2].state) == (0.7, "removed")
    assert await records.changes(0, 2) == rows[:2]
    assert await records.changes(4, None) == rows[2:]
    assert await records.changes(5, None) == []
    assert (await records.bank()).change == 5


async def test_a_poller_misses_no_change_while_several_replicas_write(replica: Open) -> None:
    poller, catalogue, writing = replica(), Catalogue(), True
    await poller.open()

    async def poll() -> None:
        while True:
            last = not writing
            while rows := await poller.changes(catalogue.last_change, 7):
                catalogue.apply(rows)
            if last:
                return

    async def write(number: int) -> None:
        records = replica()
        for step in range(12):
            [made] = await add(records, 100 * number + step)
            if step % 3 == 0:
                await records.change(made.id, SeedChange(share=0.9), version=1, by="key_2")
            if step % 4 == 0:
                await records.quarantine(made.id, "why")

    polling = asyncio.create_task(poll())
    await asyncio.gather(*(write(number) for number in range(5)))
    writing = False
    await polling
    rows = await poller.changes(0, None)
    assert len(rows) == 60
    assert {row.id: row for row in catalogue.rows()} == {row.id: row for row in rows}
    assert (await poller.bank()).change == catalogue.last_change == 60 + 20 + 15
