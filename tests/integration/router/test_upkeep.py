"""What a router does for its bank beside the requests: frames of seeds that were removed long ago are deleted."""

from pathlib import Path

import pytest

from services.contracts import Seed, SeedChange, SeedRequest
from services.errors import Conflict, NotFound
from tests.integration.router.conftest import Running, StandInRanker, make_parts, make_settings, running, soon

Clips = dict[str, Path]


async def add(router: Running, path: Path) -> Seed:
    return await router.client.add_seed(path, SeedRequest(issue="arson"), soon())


def frames_of(data_dir: Path) -> set[str]:
    """Ids of the seeds that have stored frames."""
    return {path.parent.name for path in data_dir.rglob("seeds/*/*.jpg")}


async def test_frames_of_seeds_that_were_removed_long_ago_are_deleted(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path, seed_removed_days=1e-9), make_parts(ranker)) as router:
        seeds, sweep = router.client.seeds, router.pipeline.upkeep.sweep
        made = [await add(router, clips[name]) for name in ("red", "green", "blue")]
        gone, back, kept = (seed.id for seed in made)
        before = frames_of(tmp_path)
        for seed in made[:2]:
            await seeds.remove(seed.id, "shows a toy", soon(), version=None)
        again = await seeds.change(back, SeedChange(state="active"), soon(), version=2)
        await sweep()
        after = frames_of(tmp_path)
        with pytest.raises(NotFound):
            await seeds.frame(gone, 0, soon())
        tombstone = await seeds.get(gone, soon())
        await seeds.remove(back, "shows a toy", soon(), version=again.version)
        await sweep()
        last = frames_of(tmp_path)
    assert before == {gone, back, kept}
    assert after == {back, kept}
    assert tombstone.state == "removed"
    assert last == {kept}


async def test_a_recent_removal_keeps_the_frames(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path, seed_removed_days=1), make_parts(ranker)) as router:
        seed = await add(router, clips["red"])
        await router.client.seeds.remove(seed.id, "shows a toy", soon(), version=None)
        await router.pipeline.upkeep.sweep()
        assert frames_of(tmp_path) == {seed.id}


async def test_a_seed_without_its_frames_becomes_active_once_its_video_was_added_again(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path, seed_removed_days=1e-9), make_parts(ranker)) as router:
        seeds, sweep = router.client.seeds, router.pipeline.upkeep.sweep
        seed = await add(router, clips["red"])
        gone = await seeds.remove(seed.id, "shows a toy", soon(), version=None)
        await sweep()
        with pytest.raises(Conflict, match="add its video again"):
            await seeds.change(seed.id, SeedChange(state="active"), soon(), version=gone.version)
        kept = await seeds.get(seed.id, soon())
        with pytest.raises(Conflict, match="was removed"):
            await add(router, clips["red"])
        again = frames_of(tmp_path)
        back = await seeds.change(seed.id, SeedChange(state="active"), soon(), version=gone.version)
        await sweep()
    assert kept.state == "removed"
    assert again == frames_of(tmp_path) == {seed.id}
    assert back.state == "active"


async def test_frames_of_a_removed_seed_that_came_back_are_deleted_again(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path, seed_removed_days=1e-9), make_parts(ranker)) as router:
        seeds, sweep = router.client.seeds, router.pipeline.upkeep.sweep
        seed = await add(router, clips["red"])
        copy = await seeds.copy(seed.id, soon())
        await seeds.remove(seed.id, "shows a toy", soon(), version=None)
        await sweep()
        with pytest.raises(Conflict):
            await add(router, clips["red"])
        await sweep()
        swept = frames_of(tmp_path)
        restored, new = await seeds.restore(copy, soon())
    assert swept == frames_of(tmp_path) == set()
    assert (restored.state, new) == ("removed", False)
