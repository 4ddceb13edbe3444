"""Seeds that come without vectors, and an encoder that fails on some of them: the others are not held up."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from router_svc.app import Parts
from router_svc.bank import MemoryIndex
from services.contracts import Seed, SeedChange, SeedCopy, SeedRequest
from services.encoder import HashEncoder
from services.errors import NotFound, NotReady
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


class FailsOnGreen(HashEncoder):
    """An encoder that runs out of memory on green pictures while it is told to."""

    fails = True

    def embed_images(self, frames: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        if self.fails and any(frame[..., 1].mean() > 100 for frame in frames):
            raise MemoryError("no room for this picture")
        return super().embed_images(frames)


@pytest.fixture
async def copies(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> dict[str, SeedCopy]:
    """A red and a green seed of another bank, without vectors."""
    async with running(make_settings(tmp_path / "other"), make_parts(ranker)) as router:
        made = {name: await add(router, clips[name]) for name in ("red", "green")}
        found = {name: await router.client.seeds.copy(seed.id, soon()) for name, seed in made.items()}
    return {name: copy.model_copy(update={"vectors": None}) for name, copy in found.items()}


@pytest.fixture
def encoder() -> FailsOnGreen:
    return FailsOnGreen()


@pytest.fixture
def parts(ranker: StandInRanker, encoder: FailsOnGreen) -> Parts:
    return make_parts(ranker, encoder=lambda _: encoder)


async def add(router: Running, path: Path) -> Seed:
    return await router.client.add_seed(path, SeedRequest(issue="arson"), soon())


async def matched(router: Running, path: Path) -> set[str]:
    result = await router.client.route(path, request_for(path, policy("arson")), soon())
    return {match.seed_id for match in result.issues[0].matches}


async def test_a_seed_that_cannot_be_embedded_is_told_and_holds_up_no_other(
    tmp_path: Path, clips: Clips, parts: Parts, copies: dict[str, SeedCopy], caplog: pytest.LogCaptureFixture
) -> None:
    async with running(make_settings(tmp_path), parts) as router:
        seeds = router.client.seeds
        with pytest.raises(NotReady, match="its vectors could not be made"):
            await seeds.restore(copies["green"], soon())
        red, _ = await seeds.restore(copies["red"], soon())
        blue = await add(router, clips["blue"])
        found = await matched(router, clips["red"])
        await seeds.change(blue.id, SeedChange(state="paused"), soon(), version=1)
        bank = await router.client.bank(soon())
    assert red.id in found
    assert (bank.seeds, bank.states) == ({"arson": 1}, {"active": 2, "paused": 1})
    assert "a seed cannot be embedded and is not searched for" in caplog.text


async def test_it_is_searched_for_once_it_can_be_embedded(
    tmp_path: Path, clips: Clips, parts: Parts, copies: dict[str, SeedCopy], encoder: FailsOnGreen
) -> None:
    settings = make_settings(tmp_path, bank_sync_s=0.05, bank_check_s=0.2)
    async with running(settings, parts) as router:
        await router.client.seeds.restore(copies["red"], soon())
        with pytest.raises(NotReady):
            await router.client.seeds.restore(copies["green"], soon())
        encoder.fails = False
        async with asyncio.timeout(10):
            while (await router.client.bank(soon())).seeds != {"arson": 2}:
                await asyncio.sleep(0.05)
        assert copies["green"].seed.id in await matched(router, clips["green"])


async def test_a_storage_that_does_not_answer_holds_up_no_seed_that_has_vectors(
    tmp_path: Path, clips: Clips, parts: Parts, copies: dict[str, SeedCopy], monkeypatch: pytest.MonkeyPatch
) -> None:
    down = True
    async with running(make_settings(tmp_path, seed_count_s=0.1), parts) as router:
        media = router.pipeline.upkeep.media
        read = type(media).frames

        async def frames(self: object, seed_id: str, count: int) -> list[bytes]:
            if down:
                raise NotReady("The frames of seeds cannot be reached.")
            return await read(media, seed_id, count)

        monkeypatch.setattr(type(media), "frames", frames)
        with pytest.raises(NotReady, match="its vectors could not be made"):
            await router.client.seeds.restore(copies["red"], soon())
        blue = await add(router, clips["blue"])
        meanwhile = await matched(router, clips["blue"])
        before = (await router.client.bank(soon())).seeds
        down = False
        async with asyncio.timeout(10):
            while (await router.client.bank(soon())).seeds != {"arson": 2}:
                await asyncio.sleep(0.05)
        found = await matched(router, clips["red"])
    assert blue.id in meanwhile
    assert before == {"arson": 1}
    assert copies["red"].seed.id in found


async def test_a_seed_whose_frames_turn_out_to_be_lost_is_not_tried_again_and_again(
    tmp_path: Path,
    parts: Parts,
    copies: dict[str, SeedCopy],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = 0
    async with running(make_settings(tmp_path, seed_count_s=0.05), parts) as router:

        async def frames(self: object, seed_id: str, count: int) -> list[bytes]:
            nonlocal asked
            asked += 1
            if asked < 3:
                raise NotReady("The frames of seeds cannot be reached.")
            raise NotFound("The seed has no such frame.")

        monkeypatch.setattr(type(router.pipeline.upkeep.media), "frames", frames)
        with pytest.raises(NotReady):
            await router.client.seeds.restore(copies["red"], soon())
        async with asyncio.timeout(10):
            while "a seed cannot be embedded" not in caplog.text:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
    assert asked == 3


async def test_a_bank_that_was_taken_in_by_half_is_not_ready(
    tmp_path: Path, clips: Clips, ranker: StandInRanker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_svc.seeds.serving.PAGE", 1)
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        for name in ("red", "green"):
            await add(router, clips[name])

    class Fills(MemoryIndex):
        full = True

        async def put(self, entries: Sequence[object]) -> None:
            if self.full and await self.seed_ids():
                raise NotReady("The index is full.")
            await super().put(entries)  # type: ignore[arg-type]

    index = Fills("e", 49)
    parts = make_parts(ranker, index=lambda _: index)
    async with running(make_settings(tmp_path, bank_sync_s=0.05), parts) as router:
        half = await index.seed_ids()
        ready = await router.client.ready(soon())
        index.full = False
        async with asyncio.timeout(10):
            while (await router.client.ready(soon())).status != "ok":
                await asyncio.sleep(0.05)
        bank = await router.client.bank(soon())
    assert len(half) == 1
    assert ready.missing == {"seed bank": "The seed bank is not ready: The index is full."}
    assert bank.seeds == {"arson": 2}


async def test_the_frames_of_a_seed_that_the_bank_has_stay(
    tmp_path: Path, clips: Clips, ranker: StandInRanker, copies: dict[str, SeedCopy]
) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        seeds = router.client.seeds
        seed = await add(router, clips["red"])
        before = await seeds.copy(seed.id, soon())
        other = copies["red"].model_copy(update={"frames": copies["green"].frames})
        kept, new = await seeds.restore(other, soon())
        more = other.model_copy(
            update={"seed": seed.model_copy(update={"vectors": 8}), "frames": copies["green"].frames * 2}
        )
        await seeds.restore(more, soon())
        after = await seeds.copy(seed.id, soon())
        await router.pipeline.upkeep.media.delete(seed.id)
        await seeds.restore(more, soon())
        with pytest.raises(NotFound):
            await seeds.copy(seed.id, soon())
        await seeds.restore(before, soon())
        healed = await seeds.copy(seed.id, soon())
    assert (kept.id, new) == (seed.id, False)
    assert after == before == healed
