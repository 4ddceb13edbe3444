"""A bank that is empty, slow or down: what the router answers, what readiness names, and how it comes back."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from router_svc.bank import NOTHING, Entry, Excluded, Found, Group, MemoryIndex, Vectors
from services.contracts import SeedRequest
from services.deadline import Deadline
from services.errors import NotReady, RouterUnavailable
from tests.integration.router.conftest import (
    StandInRanker,
    make_parts,
    make_settings,
    policy,
    request_for,
    running,
    soon,
)

Clips = dict[str, Path]


class FragileIndex(MemoryIndex):
    """An index that is slow or down when it is told so."""

    slow_s = 0.0
    down = False
    live = 0

    async def open(self) -> None:
        self._require()

    async def ping(self) -> None:
        self._require()

    async def make_live(self) -> None:
        self._require()
        self.live += 1

    async def put(self, entries: Sequence[Entry]) -> None:
        self._require()
        await super().put(entries)

    async def search(
        self,
        vectors: Vectors,
        groups: Sequence[Group],
        limit: int,
        *,
        exclude: Excluded = NOTHING,
        deadline: Deadline | None = None,
    ) -> Found:
        self._require()
        await asyncio.sleep(self.slow_s)
        return await super().search(vectors, groups, limit, exclude=exclude, deadline=deadline)

    def _require(self) -> None:
        if self.down:
            raise NotReady("The index is switched off.")


@pytest.fixture
def index() -> FragileIndex:
    return FragileIndex("e", 49)


async def test_a_slow_index_costs_a_video_so_many_seconds(
    tmp_path: Path, clips: Clips, ranker: StandInRanker, index: FragileIndex
) -> None:
    settings = make_settings(tmp_path, bank_timeout_s=0.2)
    async with running(settings, make_parts(ranker, index=lambda _: index)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        index.slow_s = 5.0
        with pytest.raises(RouterUnavailable, match=r"within 0\.2 s"):
            await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
        index.slow_s = 0.0
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert result.issues[0].escalated


async def test_an_index_that_is_down_is_named_and_comes_back(
    tmp_path: Path, clips: Clips, ranker: StandInRanker, index: FragileIndex
) -> None:
    index.down = True
    settings = make_settings(tmp_path, bank_sync_s=0.1)
    async with running(settings, make_parts(ranker, index=lambda _: index)) as router:
        late = await router.client.ready(soon())
        index.down = False
        async with asyncio.timeout(5):
            while (await router.client.ready(soon())).missing != {"seed bank": "empty"}:
                await asyncio.sleep(0.05)
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        ready = await router.client.ready(soon())
        index.down = True
        down = await router.client.ready(soon())
        with pytest.raises(RouterUnavailable, match="switched off"):
            await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert set(late.missing) == {"seed bank"}
    assert index.live == 1  # an alias names the live encoder from the beginning, and is not moved for nothing
    assert ready.status == "ok"
    assert down.missing == {"seed bank": "The index is switched off."}


async def test_an_index_that_lost_its_data_is_filled_again(
    tmp_path: Path, clips: Clips, ranker: StandInRanker, index: FragileIndex
) -> None:
    settings = make_settings(tmp_path, bank_sync_s=0.1, bank_check_s=0.3)
    async with running(settings, make_parts(ranker, index=lambda _: index)) as router:
        seed = await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await index.remove(await index.seed_ids())
        async with asyncio.timeout(5):
            while not await index.seed_ids():
                await asyncio.sleep(0.05)
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert result.issues[0].matches[0].seed_id == seed.id


async def test_without_its_database_it_searches_on_and_takes_no_seeds(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    settings = make_settings(tmp_path, database_timeout_s=0.5)
    async with running(settings, make_parts(ranker)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        other = sqlite3.connect(tmp_path / "router" / "router.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotReady, match="seed records"):
            await router.client.add_seed(clips["blue"], SeedRequest(issue="arson"), soon())
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
        ready = await router.client.ready(soon())
        other.execute("ROLLBACK")
        other.close()
        await router.client.add_seed(clips["blue"], SeedRequest(issue="arson"), soon())
    assert result.issues[0].escalated
    assert ready.status == "ok"


async def test_a_seed_is_searched_for_by_every_replica_within_two_seconds(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    shared = {
        "database_url": f"sqlite:///{tmp_path / 'shared.db'}",
        "seed_storage_url": (tmp_path / "frames").as_uri(),
    }
    parts = make_parts(ranker)
    async with (
        running(make_settings(tmp_path / "a", **shared), parts) as first,
        running(make_settings(tmp_path / "b", **shared), parts) as second,
    ):
        await first.client.add_seed(clips["green"], SeedRequest(issue="arson"), soon())
        await asyncio.sleep(1.0)
        seed = await first.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        async with asyncio.timeout(2.0):
            while not second.pipeline.bank.serving.catalogue.row(seed.id):
                await asyncio.sleep(0.02)
        here = await first.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
        there = await second.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
        metrics = (await second.http.get("/metrics")).text
    assert here.issues == there.issues
    assert there.issues[0].matches[0].seed_id == seed.id
    assert here.bank_revision == there.bank_revision
    assert "winnow_router_seed_searchable_seconds_count 2.0" in metrics
