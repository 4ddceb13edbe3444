"""The frames of seeds in a storage: a directory, and one in memory."""

from pathlib import Path

import pytest

from router_svc.seeds.media import SeedMedia
from services.errors import NotFound, NotReady
from services.storage import Storage

ONE, TWO = "a" * 32, "b" * 32
FRAMES = [b"\xff\xd8 first", b"\xff\xd8 second", b"\xff\xd8 third"]


@pytest.fixture(params=["file", "memory"])
def media(request: pytest.FixtureRequest, tmp_path: Path) -> SeedMedia:
    return SeedMedia(Storage(f"file://{tmp_path}/new" if request.param == "file" else f"memory://{tmp_path.name}"))


async def test_frames_are_kept_in_order(media: SeedMedia) -> None:
    await media.put(ONE, FRAMES)
    await media.put(TWO, FRAMES[:1])
    assert await media.frames(ONE, 3) == FRAMES
    assert await media.frames(ONE, 2) == FRAMES[:2]
    assert await media.frame(ONE, 1) == FRAMES[1]
    assert await media.frames(TWO, 1) == FRAMES[:1]
    await media.put(ONE, FRAMES[::-1])
    assert await media.frames(ONE, 3) == FRAMES[::-1]


async def test_a_frame_that_is_not_there_is_not_found(media: SeedMedia) -> None:
    await media.put(ONE, FRAMES)
    for seed_id, index in ((ONE, 3), (ONE, -1), (TWO, 0), ("../" + "a" * 29, 0), ("", 0), ("\x00", 0), (f"{ONE}\n", 0)):
        with pytest.raises(NotFound):
            await media.frame(seed_id, index)
    with pytest.raises(NotFound):
        await media.frames(ONE, 4)


async def test_deleted_frames_are_gone_and_those_of_other_seeds_are_not(media: SeedMedia) -> None:
    await media.put(ONE, FRAMES)
    await media.put(TWO, FRAMES)
    await media.delete(ONE)
    await media.delete(ONE)
    with pytest.raises(NotFound):
        await media.frame(ONE, 0)
    assert await media.frames(TWO, 3) == FRAMES
    for seed_id in ("", "..", "../" + "b" * 29):
        with pytest.raises(NotFound):
            await media.delete(seed_id)


async def test_frames_stand_under_the_id_of_their_seed(tmp_path: Path) -> None:
    await SeedMedia(Storage(f"file://{tmp_path}")).put(ONE, FRAMES)
    assert (tmp_path / "seeds" / ONE / "2.jpg").read_bytes() == FRAMES[2]


async def test_a_storage_that_cannot_be_reached_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "seeds").write_text("a file where a directory should be")
    media = SeedMedia(Storage(f"file://{tmp_path}"))
    with pytest.raises(NotReady):
        await media.put(ONE, FRAMES)
