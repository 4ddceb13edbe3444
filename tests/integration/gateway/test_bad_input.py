"""Bad input: each kind with its status and code, nothing left behind, and the gateway still answering."""

import asyncio
from typing import Any

import pytest

from services.deadline import DEADLINE_HEADER
from services.errors import (
    NoVideoStream,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
    WinnowError,
)
from tests.integration.gateway.conftest import Running, Start

CASES: list[Any] = [
    pytest.param({"video": b""}, 422, "empty_video", id="zero bytes"),
    pytest.param({"video": b"x" * 20_000}, 413, "too_large", id="over the limit"),
    pytest.param({"request": "{"}, 400, "malformed_request", id="bad JSON"),
    pytest.param({"request": '{"nothing": 1}'}, 422, "invalid_payload", id="unknown field"),
    pytest.param({"request": '{"issues": []}'}, 422, "invalid_payload", id="no issues"),
    pytest.param({"request": '{"issues": ["nothing"]}'}, 422, "unknown_issue", id="unknown issue"),
    pytest.param({DEADLINE_HEADER: "0"}, 504, "deadline_exceeded", id="deadline passed"),
    pytest.param({DEADLINE_HEADER: "soon"}, 400, "malformed_request", id="deadline not a number"),
]


async def assert_refused_and_alive(running: Running, response: Any, status: int, code: str) -> None:
    problem = response.json()
    assert (response.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert running.spooled() == []
    running.router.error = None
    assert (await running.moderate()).status_code == 200
    http = 'winnow_http_requests_total{method="POST",route="/v1/decisions",service="gateway",status="%s"}'
    assert await running.metric(http % status) == 1


@pytest.mark.parametrize(("kwargs", "status", "code"), CASES)
async def test_bad_requests(start: Start, kwargs: dict[str, Any], status: int, code: str) -> None:
    running = await start(max_video_bytes=10_000, max_json_bytes=1_000)
    response = await running.moderate(**kwargs)
    assert running.router.asked == []
    await assert_refused_and_alive(running, response, status, code)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"nothing like multipart"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="video"\r\n\r\nbytes'),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="request"\r\n\r\n{}\r\n--x--\r\n',
        ),
        ("multipart/form-data", b"no boundary"),
        ("text/plain", b"{}"),
    ],
    ids=["not multipart", "cut short", "no video", "no boundary", "another type"],
)
async def test_malformed_bodies(gateway: Running, content_type: str, body: bytes) -> None:
    response = await gateway.client.post("/v1/decisions", content=body, headers={"Content-Type": content_type})
    await assert_refused_and_alive(gateway, response, 400, "malformed_request")


async def test_a_request_over_the_limit_that_does_not_say_its_length(start: Start) -> None:
    running = await start(max_video_bytes=10_000)

    async def body() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\n'
        for _ in range(100):
            yield b"y" * 1_000
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = await running.client.post("/v1/decisions", content=body(), headers=headers)
    await assert_refused_and_alive(running, response, 413, "too_large")


async def test_a_full_spool(start: Start) -> None:
    running = await start(spool_max_bytes=5_000)
    response = await running.moderate(b"x" * 6_000)
    await assert_refused_and_alive(running, response, 507, "storage_full")


async def test_an_upload_that_takes_too_long(start: Start) -> None:
    running = await start(upload_timeout_s=0.1)

    async def body() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\nbytes'
        await asyncio.sleep(60)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = await running.client.post("/v1/decisions", content=body(), headers=headers)
    await assert_refused_and_alive(running, response, 408, "upload_timeout")


@pytest.mark.parametrize("kind", [UnsupportedMedia, NoVideoStream, TruncatedVideo, UndecodableVideo, VideoRefused])
async def test_what_the_router_says_about_the_video_reaches_the_client(
    gateway: Running, kind: type[WinnowError]
) -> None:
    gateway.router.error = kind("The router's own words.")
    response = await gateway.moderate()
    assert response.json()["detail"] == "The router's own words."
    await assert_refused_and_alive(gateway, response, kind.status, kind.code)
