"""Several replicas and another encoder: who builds it, who follows, and what is taken in meanwhile."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from services.contracts import EncoderSpec, ReindexRequest, SeedRequest
from services.encoder import Encoder, HashEncoder
from tests.integration.router.conftest import (
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
