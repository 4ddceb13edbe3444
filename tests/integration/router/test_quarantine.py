"""What the router counts of its seeds, and how it takes bad ones out of the search by itself."""

import asyncio
from pathlib import Path

from services.contracts import Seed, SeedChange, SeedFilter, SeedRequest
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


async def route(router: Running, path: Path) -> bool:
    result = await router.client.route(path, request_for(path, policy("arson")), soon())
    return result.issues[0].escalated


async def counted(router: Running, seed_id: str, hits: int) -> Seed:
    async with asyncio.timeout(10):
        while True:
            seed = await router.client.seeds.get(seed_id, soon())
            if seed.stats.hits >= hits:
                return seed
            await asyncio.sleep(0.05)


async def quarantined(router: Running) -> Seed:
    async with asyncio.timeout(10):
        while not (page := await router.client.seeds.page(SeedFilter(state="quarantined"), soon())).seeds:
            await asyncio.sleep(0.05)
    return page.seeds[0]


async def test_hits_are_counted_with_what_the_ranker_says(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    settings = make_settings(tmp_path, seed_count_s=0.1)
    async with running(settings, make_parts(ranker)) as router:
        seed = await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await route(router, clips["red"])
        ranker.probability = 0.2
        await route(router, clips["red"])
        await route(router, clips["red"])
        await route(router, clips["blue"])
        found = await counted(router, seed.id, 3)
    assert (found.stats.hits, found.stats.confirmed, found.stats.refuted) == (3, 1, 2)
    assert found.stats.last_hit_at is not None
    assert found.version == 1


async def test_what_was_not_counted_yet_is_recorded_at_the_end(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path, seed_count_s=600), make_parts(ranker)) as router:
        seed = await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await route(router, clips["red"])
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        assert (await router.client.seeds.get(seed.id, soon())).stats.hits == 1


async def test_a_seed_that_matches_too_much_traffic_is_quarantined(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    settings = make_settings(
        tmp_path, seed_count_s=0.1, seed_watch_videos=10, seed_watch_min=5, seed_max_share=0.3, seed_max_refuted=1.0
    )
    async with running(settings, make_parts(ranker)) as router:
        await router.client.add_seed(clips["green"], SeedRequest(issue="arson"), soon())
        seed = await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        for _ in range(6):
            assert await route(router, clips["red"])
        taken = await quarantined(router)
        assert not await route(router, clips["red"])
        metrics = (await router.http.get("/metrics")).text
        assert 'winnow_router_seed_quarantines_total{issue="arson"} 1.0' in metrics
        lifted = await router.client.seeds.change(seed.id, SeedChange(state="active"), soon(), version=taken.version)
        assert await route(router, clips["red"])
    assert taken.id == seed.id
    assert taken.updated_by == "watch"
    assert taken.quarantined_why is not None
    assert "of the last" in taken.quarantined_why
    assert (lifted.state, lifted.quarantined_why) == ("active", None)


async def test_a_seed_whose_hits_are_refuted_is_quarantined(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    ranker.probability = 0.01
    settings = make_settings(tmp_path, seed_count_s=0.1, seed_min_judged=5, seed_max_refuted=0.5, seed_max_share=1.0)
    async with running(settings, make_parts(ranker)) as router:
        await router.client.add_seed(clips["green"], SeedRequest(issue="arson"), soon())
        seed = await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        for _ in range(6):
            await route(router, clips["red"])
        taken = await quarantined(router)
        # A new trial begins: what was refuted before does not quarantine it again at once.
        await router.client.seeds.change(seed.id, SeedChange(state="active"), soon(), version=taken.version)
        await route(router, clips["red"])
        await counted(router, seed.id, 7)
        await asyncio.sleep(0.5)
        again = await router.client.seeds.get(seed.id, soon())
    assert taken.quarantined_why is not None
    assert "refuted" in taken.quarantined_why
    assert again.state == "active"
