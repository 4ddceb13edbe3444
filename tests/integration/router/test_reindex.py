"""Another encoder beside the live one: built from stored frames, checked, switched to while videos are routed; back."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from router_svc.app import Parts
from router_svc.bank import MemoryIndex
from services.contracts import EncoderSpec, ReindexRequest, SeedRequest, SwitchRequest
from services.encoder import Encoder, HashEncoder
from services.errors import Conflict
from tests.integration.router.conftest import (
    Running,
    StandInRanker,
    make_parts,
    make_settings,
    policy,
    request_for,
    running,
    soon,
)
from tests.integration.router.encoders import FINE, NEW, OLD, by_name, until_live

Clips = dict[str, Path]


@asynccontextmanager
async def replicas(folder: Path, count: int, parts: Parts) -> AsyncIterator[list[Running]]:
    """Routers that share records and frames, each with an index of its own."""
    shared = {
        "database_url": f"sqlite:///{folder / 'shared.db'}",
        "seed_storage_url": (folder / "frames").as_uri(),
        "bank_sync_s": 0.1,
    }
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running(make_settings(folder / f"r{number}", **shared), parts))
            for number in range(count)
        ]


async def test_every_replica_switches_and_videos_are_routed_throughout(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with replicas(tmp_path, 2, make_parts(ranker, encoder=by_name)) as (first, second):
        for name in ("red", "green"):
            await first.client.add_seed(clips[name], SeedRequest(issue="arson"), soon())
        await first.client.seeds.add(None, SeedRequest(issue="arson", kind="text", text="white"), soon())
        await asyncio.sleep(0.5)
        seen: set[str] = set()
        stop = asyncio.Event()

        async def traffic() -> None:
            while not stop.is_set():
                result = await second.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
                assert result.issues[0].escalated
                seen.add(result.encoder)

        routing = asyncio.create_task(traffic())
        began = await first.client.seeds.reindex(ReindexRequest(encoder=FINE), soon(), actor="ann")
        statuses = [await until_live(router, NEW) for router in (first, second)]
        await asyncio.sleep(0.5)
        stop.set()
        await routing
        assert (began.state, began.started_by) == ("building", "ann")
        assert [(each.encoder, each.previous, each.vectors) for each in statuses] == [(NEW, OLD, 9)] * 2
        assert statuses[0].reindex is not None
        assert (statuses[0].reindex.state, statuses[0].reindex.done) == ("live", 3)
        assert seen == {OLD, NEW}
        # What is added now has no vectors of the old encoder: going back makes them first.
        added = await second.client.add_seed(clips["blue"], SeedRequest(issue="arson"), soon())
        back = await first.client.seeds.switch(SwitchRequest(encoder=OLD), soon())
        assert (back.encoder, back.previous, back.vectors) == (OLD, NEW, 13)
        await until_live(second, OLD)
        result = await second.client.route(clips["blue"], request_for(clips["blue"], policy("arson")), soon())
    assert result.encoder == OLD
    assert result.issues[0].matches[0].seed_id == added.id


async def test_a_restarted_router_serves_the_live_encoder_whatever_its_settings_name(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    parts = make_parts(ranker, encoder=by_name)
    async with running(make_settings(tmp_path), parts) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
    changed = make_settings(tmp_path, encoder_model="grid-6")
    async with running(changed, parts) as router:
        assert (await router.client.bank(soon())).encoder == OLD
        before = (await router.http.get("/metrics")).text
        await router.client.seeds.reindex(ReindexRequest(), soon())
        status = await until_live(router, NEW)
        after = (await router.http.get("/metrics")).text
        with pytest.raises(Conflict):
            await router.client.seeds.reindex(ReindexRequest(), soon())
    assert status.encoder == NEW
    for text, shown, hidden in ((before, OLD, NEW), (after, NEW, OLD)):
        assert f'winnow_router_model_info{{encoder="{shown}"}} 1.0' in text
        assert f'encoder="{hidden}"' not in text


async def test_new_files_behind_the_same_name_are_taken_over_at_the_start(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    settings = make_settings(tmp_path)
    async with running(settings, make_parts(ranker)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
    async with running(settings, make_parts(ranker, encoder=lambda _: HashEncoder(6))) as router:
        status = await router.client.bank(soon())
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert (status.encoder, status.seeds) == (NEW, {"arson": 1})
    assert result.issues[0].escalated


async def test_an_encoder_that_cannot_have_every_seed_does_not_go_live(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker, encoder=by_name)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        shutil.rmtree(tmp_path / "router" / "seeds")
        await router.client.seeds.reindex(ReindexRequest(encoder=FINE), soon())
        status = await until_live(router, NEW)
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert status.reindex is not None
    assert status.reindex.error is not None
    assert "1 active seed(s)" in status.reindex.error
    assert (status.encoder, result.encoder) == (OLD, OLD)


async def test_the_live_encoder_under_another_name_is_told(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker, encoder=by_name)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await router.client.seeds.reindex(ReindexRequest(encoder=EncoderSpec(model="other name")), soon())
        status = await until_live(router, NEW)
    assert status.reindex is not None
    assert status.reindex.error == "it is the live encoder under another name"


async def test_an_index_on_disk_is_free_for_the_way_back(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker, encoder=by_name, index=None)) as router:
        seed = await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await router.client.seeds.reindex(ReindexRequest(encoder=FINE), soon())
        await until_live(router, NEW)
        back = await router.client.seeds.switch(SwitchRequest(encoder=OLD), soon())
        forth = await router.client.seeds.switch(SwitchRequest(encoder=NEW), soon())
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert (back.encoder, forth.encoder) == (OLD, NEW)
    assert result.issues[0].matches[0].seed_id == seed.id


async def test_what_served_before_is_closed_although_its_last_user_leaves_meanwhile(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    closed: list[str] = []

    class Told(MemoryIndex):
        async def close(self) -> None:
            await asyncio.sleep(0.2)
            closed.append(self.name)
            await super().close()

        name = ""

    def index(encoder: Encoder) -> Told:
        made = Told(encoder.fingerprint, encoder.dim)
        made.name = encoder.fingerprint
        return made

    settings = make_settings(tmp_path, bank_sync_s=2.0)
    async with running(settings, make_parts(ranker, encoder=by_name, index=index)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await router.client.seeds.reindex(ReindexRequest(encoder=FINE), soon())
        await until_live(router, NEW)
        leaving = asyncio.create_task(router.client.seeds.switch(SwitchRequest(encoder=OLD), soon()))
        await asyncio.sleep(0.1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await router.client.seeds.switch(SwitchRequest(encoder=OLD), soon())
        assert OLD in closed
