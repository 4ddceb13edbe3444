"""What a hostile router could send to the ranker: floods of wrong values, and pictures made to break a decoder."""

import asyncio
import base64
import io
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.integration.ranker.test_service import Body, post, service

FLOODS: dict[str, Callable[[int], bytes]] = {
    "numbers": lambda size: b'{"issues":[' + b"0," * (size // 2) + b"0]}",
    "objects": lambda size: b'{"issues":[' + b"{}," * (size // 3) + b"{}]}",
    "keys": lambda size: b"{" + b",".join(b'"%x":0' % index for index in range(size // 10)) + b"}",
    "nesting": lambda size: b"[" * size,
    "one number": lambda size: b'{"frames":' + b"9" * size + b"}",
    "text": lambda size: b'{"frames":[{"time_s":0,"jpeg":"' + b"!" * size + b'"}]}',
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_is_refused_and_does_not_keep_the_event_loop(tmp_path: Path, flood: str) -> None:
    body = FLOODS[flood](15 * 1024 * 1024)
    ticks: list[float] = []

    async def watch() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.005)

    async with service(tmp_path) as client:
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.02)
        response = await client.post("/v1/rank", content=body, headers={"Content-Type": "application/json"})
        await asyncio.sleep(0.02)
        watching.cancel()
    assert response.status_code in (400, 413, 422)
    assert response.json()["code"] in ("malformed_request", "too_large", "invalid_payload")
    assert len(response.content) < 20_000
    # Not a measure of speed: without the limit it is tens of seconds.
    assert max(after - before for before, after in itertools.pairwise(ticks)) < 5


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((64, 48)).convert(mode)


def claims(width: int, height: int) -> bytes:
    data = bytearray(saved(picture()))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan stands there many times: small, and slow to decode where it is obeyed."""
    data = saved(picture(), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    return saved(picture(), exif=exif)


@pytest.mark.parametrize(
    ("jpeg", "status"),
    [
        (saved(picture()), 200),
        (saved(picture("L")), 200),
        (saved(picture("CMYK")), 200),
        (saved(picture(), progressive=True), 200),
        (turned(), 200),
        (saved(picture(), comment=b"x" * 60_000), 200),
        (saved(picture(), "PNG"), 422),
        (saved(picture(), "GIF"), 422),
        (saved(picture(), "WEBP"), 422),
        (saved(picture(), "TIFF"), 422),
        (saved(picture(), "PDF"), 422),
        (claims(65_500, 65_500), 422),
        (claims(4_000, 4_000), 422),
        (claims(1_100, 1_100), 422),
        (claims(0, 10), 422),
        (many_scans(5_000), 422),
        (saved(picture())[:300], 422),
        (saved(picture())[:-2], 422),
        (b"\xff\xd8" + b"\xff\xda" * 1_000, 422),
        (b"\xff\xd8\xff\xe0" + b"\x00" * 1_000, 422),
        (b"", 422),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_pictures(tmp_path: Path, rank_body: Body, jpeg: bytes, status: int) -> None:
    body = rank_body()
    body["frames"][1]["jpeg"] = base64.b64encode(jpeg).decode()
    response = post(tmp_path, body)
    assert response.status_code == status
    if status == 422:
        assert response.json()["errors"][0]["pointer"] == "body/frames/1/jpeg"
