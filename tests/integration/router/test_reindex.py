"""Another encoder beside the live one: built from stored frames, checked, switched to while videos are routed; back."""

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from router_svc.app import Parts
from router_svc.bank import MemoryIndex
from services.contracts import BankStatus, EncoderSpec, ReindexRequest, SeedRequest, SwitchRequest
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

Clips = dict[str, Path]
FINE = EncoderSpec(model="grid-6")


def by_name(spec: EncoderSpec) -> Encoder:
    return HashEncoder(grid=6 if spec.model == "grid-6" else 4)


OLD, NEW = HashEncoder(4).fingerprint, HashEncoder(6).fingerprint


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


async def until_live(router: Running, encoder: str) -> BankStatus:
    async with asyncio.timeout(30):
        while True:
            status = await router.client.bank(soon())
            if status.reindex is not None and status.reindex.state == "failed":
                return status
            if status.encoder == encoder:
                return status
            await asyncio.sleep(0.05)


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


async def test_what_a_dead_replica_began_is_finished_by_another(
    tmp_path: Path,
    clips: Clips,
    ranker: StandInRanker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("router_svc.seeds.reindex.STALE_S", 0.5)

    def dies_early(spec: EncoderSpec) -> Encoder:
        time.sleep(0.5 if spec == FINE else 0.0)
        return by_name(spec)

    parts = make_parts(ranker, encoder=by_name)
    async with running(make_settings(tmp_path), make_parts(ranker, encoder=dies_early)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        began = await router.client.seeds.reindex(ReindexRequest(encoder=FINE), soon())
    assert began.state == "building"
    async with running(make_settings(tmp_path, seed_count_s=0.2), parts) as router:
        status = await until_live(router, NEW)
    assert "going on with an index that another replica began" in caplog.text
    assert status.encoder == NEW


async def test_the_live_encoder_under_another_name_is_told(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker, encoder=by_name)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await router.client.seeds.reindex(ReindexRequest(encoder=EncoderSpec(model="other name")), soon())
        status = await until_live(router, NEW)
    assert status.reindex is not None
    assert status.reindex.error == "it is the live encoder under another name"


async def test_a_replica_with_other_files_serves_on_and_does_not_load_them_again_and_again(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    loaded: list[EncoderSpec] = []

    def old_files(spec: EncoderSpec) -> Encoder:
        loaded.append(spec)
        return HashEncoder(4)

    shared = {"database_url": f"sqlite:///{tmp_path / 's.db'}", "seed_storage_url": (tmp_path / "frames").as_uri()}
    first = make_settings(tmp_path / "a", **shared, bank_sync_s=0.05)
    second = make_settings(tmp_path / "b", **shared, bank_sync_s=0.05)
    async with (
        running(first, make_parts(ranker, encoder=by_name)) as whole,
        running(second, make_parts(ranker, encoder=old_files)) as behind,
    ):
        await whole.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await whole.client.seeds.reindex(ReindexRequest(encoder=FINE), soon())
        await until_live(whole, NEW)
        await asyncio.sleep(1.0)
        added = await whole.client.add_seed(clips["green"], SeedRequest(issue="arson"), soon())
        await asyncio.sleep(0.5)
        result = await behind.client.route(clips["green"], request_for(clips["green"], policy("arson")), soon())
    assert result.encoder == OLD
    assert result.issues[0].matches[0].seed_id == added.id
    assert loaded.count(FINE) == 1


async def test_a_replica_takes_in_seeds_while_it_loads_the_encoder_that_went_live(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    loading, loaded = threading.Event(), threading.Event()

    def slowly(spec: EncoderSpec) -> Encoder:
        if spec == FINE:
            loading.set()
            assert loaded.wait(20)
        return by_name(spec)

    shared = {
        "database_url": f"sqlite:///{tmp_path / 's.db'}",
        "seed_storage_url": (tmp_path / "frames").as_uri(),
        "bank_sync_s": 0.05,
    }
    async with (
        running(make_settings(tmp_path / "a", **shared), make_parts(ranker, encoder=by_name)) as first,
        running(make_settings(tmp_path / "b", **shared), make_parts(ranker, encoder=slowly)) as second,
    ):
        gone = await first.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await first.client.seeds.reindex(ReindexRequest(encoder=FINE), soon())
        await until_live(first, NEW)
        assert await asyncio.to_thread(loading.wait, 20)
        await first.client.seeds.remove(gone.id, "shows a toy", soon(), version=None)
        added = await first.client.add_seed(clips["green"], SeedRequest(issue="arson"), soon())
        async with asyncio.timeout(5):
            while second.pipeline.bank.serving.catalogue.row(added.id) is None:
                await asyncio.sleep(0.05)
        meanwhile = await second.client.route(clips["green"], request_for(clips["green"], policy("arson")), soon())
        loaded.set()
        await until_live(second, NEW)
        after = await second.client.route(clips["green"], request_for(clips["green"], policy("arson")), soon())
    assert (meanwhile.encoder, after.encoder) == (OLD, NEW)
    for result in (meanwhile, after):
        assert {match.seed_id for match in result.issues[0].matches} == {added.id}


async def test_a_replica_that_needs_long_to_build_is_not_taken_for_dead(
    tmp_path: Path,
    clips: Clips,
    ranker: StandInRanker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("router_svc.seeds.reindex.STALE_S", 0.6)
    monkeypatch.setattr("router_svc.seeds.reindex.BEAT_S", 0.1)

    def slowly(spec: EncoderSpec) -> Encoder:
        time.sleep(2.0 if spec == FINE else 0.0)
        return by_name(spec)

    shared = {
        "database_url": f"sqlite:///{tmp_path / 's.db'}",
        "seed_storage_url": (tmp_path / "frames").as_uri(),
        "seed_count_s": 0.1,
    }
    async with (
        running(make_settings(tmp_path / "a", **shared), make_parts(ranker, encoder=slowly)) as first,
        running(make_settings(tmp_path / "b", **shared), make_parts(ranker, encoder=by_name)),
    ):
        await first.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await first.client.seeds.reindex(ReindexRequest(encoder=FINE), soon())
        status = await until_live(first, NEW)
    assert status.encoder == NEW
    assert "another replica began" not in caplog.text


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
