"""Another encoder beside the live one: built from stored frames, checked, switched to while videos are routed; back."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from router_svc.app import Parts
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
