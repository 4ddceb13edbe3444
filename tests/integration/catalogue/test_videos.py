"""Files that are no videos, are damaged, absurd or hostile: each with its code, and nothing is left of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.catalogue import media
from tests.integration.catalogue.cascade import Cascade
from tests.integration.catalogue.conftest import Start
from tests.media_factory import render

COVERS = ("not_a_video", "no_video_stream", "empty_video", "truncated_video", "undecodable_video", "video_refused")

Make = Callable[[bytes, Path], bytes]

NOT_A_VIDEO: dict[str, Make] = {
    "JPEG": lambda good, folder: media.still("JPEG"),
    "PNG": lambda good, folder: media.still("PNG"),
    "GIF of one frame": lambda good, folder: media.still("GIF"),
    "WebP": lambda good, folder: media.still("WEBP"),
    "BMP": lambda good, folder: media.still("BMP"),
    "one byte": lambda good, folder: b"\0",
    "garbage": lambda good, folder: os.urandom(5_000),
    "text": lambda good, folder: b"once upon a time\n" * 200,
    "zip": lambda good, folder: media.zipped(),
    "HTML": lambda good, folder: b"<!doctype html><html><script>alert(1)</script></html>" * 20,
    "playlist": lambda good, folder: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "SVG": lambda good, folder: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "concat script": lambda good, folder: b"ffconcat version 1.0\nfile /etc/passwd\n",
}


@pytest.mark.parametrize("name", NOT_A_VIDEO)
async def test_no_video(cascade: Cascade, tmp_path: Path, name: str) -> None:
    response = await cascade.send(NOT_A_VIDEO[name](cascade.good, tmp_path))
    await cascade.refuses(response, 415, "not_a_video")


OTHERS: list[Any] = [
    pytest.param(lambda good, folder: media.song(folder), 415, "no_video_stream", id="sound alone"),
    pytest.param(lambda good, folder: b"", 422, "empty_video", id="zero bytes"),
    pytest.param(lambda good, folder: good[: len(good) // 2], 422, "truncated_video", id="half of it"),
    pytest.param(lambda good, folder: good[: len(good) * 9 // 10], 422, "truncated_video", id="the end is missing"),
    pytest.param(
        lambda good, folder: media.two_streams(folder), 422, "video_refused", id="two video streams"
    ),
    pytest.param(
        lambda good, folder: media.raw_pictures(folder, 60_000, 60_000), 422, "undecodable_video", id="60000 x 60000"
    ),
    pytest.param(
        lambda good, folder: media.raw_pictures(folder, 12_000, 12_000), 422, "undecodable_video", id="12000 x 12000"
    ),
    pytest.param(
        lambda good, folder: media.stated_duration(good, 100_000), 422, "video_refused", id="three days, it states"
    ),
    pytest.param(lambda good, folder: media.gif_canvas(65_000, 65_000), 422, "undecodable_video", id="canvas bomb"),
    pytest.param(lambda good, folder: b"DIE-----" + bytes(100), 422, "undecodable_video", id="kills the decoder"),
    pytest.param(lambda good, folder: b"RAISE---" + bytes(100), 422, "undecodable_video", id="a bug of the decoder"),
    pytest.param(lambda good, folder: b"HANG----" + bytes(100), 422, "video_refused", id="hangs the decoder"),
    pytest.param(lambda good, folder: b"EAT-----" + bytes(100), 422, "video_refused", id="eats the memory"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "status", "code"), OTHERS)
async def test_refused(cascade: Cascade, tmp_path: Path, make: Make, status: int, code: str) -> None:
    await cascade.refuses(await cascade.send(make(cascade.good, tmp_path)), status, code)


async def test_more_pixels_than_are_allowed(start: Start, tmp_path: Path) -> None:
    bomb = media.huge_frames(tmp_path, 2560, 1440)
    assert len(bomb) < 100_000
    async with start(router_settings={"max_pixels": 2560 * 1400}) as cascade:
        await cascade.refuses(await cascade.send(bomb), 422, "video_refused")


async def test_more_frames_than_are_allowed(start: Start, tmp_path: Path) -> None:
    long = media.many_frames(tmp_path, 600)
    async with start(router_settings={"max_decoded_frames": 100}) as cascade:
        await cascade.refuses(await cascade.send(long), 422, "video_refused")


async def test_a_longer_video_than_is_allowed(start: Start, tmp_path: Path) -> None:
    long = render(tmp_path / "long.mp4", frames=40).read_bytes()
    async with start(router_settings={"max_duration_s": 4.0}) as cascade:
        await cascade.refuses(await cascade.send(long), 422, "video_refused")


@pytest.mark.parametrize(("width", "height"), [(4096, 16), (16, 4096)])
async def test_an_extreme_aspect_is_decided(cascade: Cascade, tmp_path: Path, width: int, height: int) -> None:
    decision = await cascade.decide(media.huge_frames(tmp_path, width, height), mode="full")
    assert decision.media is not None
    assert (decision.media.width, decision.media.height, decision.route) == (width, height, "refined")
    await cascade.is_well()


async def test_a_gif_that_moves_is_a_video(cascade: Cascade) -> None:
    decision = await cascade.decide(media.animated_gif(), mode="full")
    assert decision.media is not None
    assert (decision.media.container, decision.route) == ("gif", "refined")


async def test_a_patched_duration_shifts_no_frame(cascade: Cascade) -> None:
    """Headers alone that state a thousand times the length are not believed."""
    at = cascade.good.index(b"mvhd") + 20
    patched = cascade.good[:at] + b"\x7f\xff\xff\xff" + cascade.good[at + 4 :]
    decision = await cascade.decide(patched, mode="full")
    assert decision.media is not None
    assert decision.media.duration_s == pytest.approx(3.0, abs=0.2)


async def test_a_size_that_the_frames_do_not_have_is_not_believed(cascade: Cascade) -> None:
    decision = await cascade.decide(media.stated_size(cascade.good, 60_000, 60_000), mode="full")
    assert decision.media is not None
    assert (decision.media.width, decision.media.height) == (64, 48)


async def test_a_small_file_of_large_frames_is_decoded_in_bounds(cascade: Cascade, tmp_path: Path) -> None:
    bomb = media.huge_frames(tmp_path, 3840, 2160)
    assert len(bomb) < 50_000
    decision = await cascade.decide(bomb, mode="full")
    assert decision.route == "refined"
    await cascade.is_well()
