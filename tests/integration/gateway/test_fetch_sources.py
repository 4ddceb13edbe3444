"""Servers of videos that are slow, lie, or send something else: every fetch ends with a code and leaves no file."""

import asyncio
import gzip
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.integration.gateway.conftest import Start
from tests.integration.gateway.source import VIDEO, Names, Source, ask, assert_refused, fetching, serving

COVERS = ("fetch_failed", "fetch_timeout", "source_refused")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
HEAD_OF = "HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: 6\r\n\r\nsecret"
MAX = 1_000_000


async def trickle(writer: asyncio.StreamWriter, first: bytes, piece: bytes, pause_s: float) -> None:
    writer.write(first)
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)


SLOW, PACE, WHOLE = "The URL's server was too slow.", "less than 64 KiB in 0.4 s", "within 1.2 s"
LENGTH = HEAD + b"Content-Length: 900000\r\n\r\n"
LONG = b"X-A: " + b"b" * 9_000 + b"\r\n"
ENDLESS: list[Any] = [
    pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05, "fetch_timeout", SLOW, id="slow headers"),
    pytest.param(b"HTTP/1.1 200 OK\r\n", LONG, 0, "fetch_failed", "does not speak HTTP", id="long headers"),
    pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01, "fetch_timeout", SLOW, id="interim answers"),
    pytest.param(LENGTH, b"x", 0.05, "fetch_timeout", PACE, id="a byte at a time"),
    pytest.param(CHUNKED, b"1\r\nx\r\n", 0.05, "fetch_timeout", PACE, id="a chunk at a time"),
    pytest.param(CHUNKED, b"fa0\r\n" + b"x" * 4_000 + b"\r\n", 0, "too_large", str(MAX), id="endless chunks"),
    pytest.param(HEAD + b"\r\n", b"x" * 4_000, 0, "too_large", str(MAX), id="endless body without a length"),
    pytest.param(LENGTH, b"x" * 90_000, 0.15, "fetch_timeout", WHOLE, id="steady but longer than allowed"),
]


@pytest.mark.parametrize(("first", "piece", "pause_s", "code", "words"), ENDLESS)
async def test_servers_that_never_end(
    start: Start, source: Source, first: bytes, piece: bytes, pause_s: float, code: str, words: str
) -> None:
    source.answers["/v"] = lambda writer: trickle(writer, first, piece, pause_s)
    running = await fetching(start, source, max_video_bytes=MAX, fetch_timeout_s=1.2, fetch_connect_timeout_s=0.2)
    async with asyncio.timeout(5):
        response = await ask(running, source.url("/v"))
    assert_refused(running, response, 413 if code == "too_large" else 424, code)
    assert words in response.json()["detail"]
    assert (await ask(running, source.url("/v.mp4"))).status_code == 200


RESPONSES: list[Any] = [
    pytest.param(HEAD + b"Content-Length: 9\r\n\r\n1234567890", 424, "source_refused", False, id="longer than said"),
    pytest.param(HEAD + b"Content-Length: 9\r\n\r\n12345678", 424, "fetch_failed", True, id="shorter than said"),
    pytest.param(CHUNKED + b"5\r\n1234", 424, "fetch_failed", True, id="cut in a chunk"),
    pytest.param(CHUNKED + b"zz\r\n", 424, "fetch_failed", True, id="no chunk"),
    pytest.param(HEAD + b"Content-Length: 99999999999\r\n\r\n", 413, "too_large", False, id="huge by its length"),
    pytest.param(HEAD + b"Content-Length: " + b"9" * 25 + b"\r\n\r\n", 424, "fetch_failed", True, id="absurd length"),
    pytest.param(HEAD + b"Content-Length: -1\r\n\r\n", 424, "fetch_failed", True, id="negative length"),
    pytest.param(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 424, "fetch_failed", True, id="two lengths"),
    pytest.param(HEAD + b"Content-Length: 0\r\n\r\n", 422, "empty_video", False, id="empty"),
    pytest.param(HEAD + b"\r\n", 422, "empty_video", False, id="empty without a length"),
    pytest.param(b"", 424, "fetch_failed", True, id="nothing at all"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", 424, "fetch_failed", True, id="not HTTP"),
    pytest.param(
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 10**6), 424, "source_refused", False, id="gzip"
    ),
    pytest.param(HEAD + b"Content-Encoding: br\r\n\r\nx", 424, "source_refused", False, id="brotli"),
    pytest.param(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\nx", 424, "fetch_failed", True, id="gzip on the way"),
    *(
        pytest.param(HEAD_OF.format("200 OK", kind).encode(), 415, "not_a_video", False, id=kind)
        for kind in ("text/html; charset=utf-8", "application/json", "image/png", "audio/mpeg", "multipart/mixed", "x")
    ),
    *(
        pytest.param(HEAD_OF.format(status, "video/mp4").encode(), 424, "source_refused", False, id=str(status))
        for status in (204, 206, 300, 302, 304, 401, 404)
    ),
    *(
        pytest.param(HEAD_OF.format(status, "video/mp4").encode(), 424, "fetch_failed", True, id=str(status))
        for status in (408, 429, 500, 503)
    ),
]


@pytest.mark.parametrize(("answer", "status", "code", "retryable"), RESPONSES)
async def test_answers_that_are_no_video(
    start: Start, source: Source, answer: bytes, status: int, code: str, retryable: bool
) -> None:
    running = await fetching(start, source, max_video_bytes=MAX)
    response = await ask(running, source.serve("/v", answer))
    assert_refused(running, response, status, code)
    assert response.json()["retryable"] is retryable
    assert "secret" not in response.text


@pytest.mark.parametrize(
    "kind", ["video/webm", "VIDEO/MP4; x=y", "application/octet-stream", "binary/octet-stream", ""]
)
async def test_content_types_of_videos(start: Start, source: Source, kind: str) -> None:
    running = await fetching(start, source)
    source.serve("/v", b"HTTP/1.1 200 OK\r\n" + (f"Content-Type: {kind}\r\n".encode() if kind else b"") + b"\r\nbytes")
    assert (await ask(running, source.url("/v"))).status_code == 200
    assert running.router.asked[0][1] == b"bytes"


async def test_more_bytes_than_announced_that_come_later(start: Start, source: Source) -> None:
    running = await fetching(start, source)
    url = source.serve("/v", HEAD + b"Content-Length: 4\r\n\r\n", b"1234", b"5678", pause_s=0.05)
    assert_refused(running, await ask(running, url), 424, "source_refused")


async def test_a_server_that_keeps_its_connection_open_is_not_waited_for(start: Start, source: Source) -> None:
    running = await fetching(start, source)
    url = source.serve("/v", HEAD + b"Content-Length: 4\r\n\r\n1234", hold=True)
    async with asyncio.timeout(5):
        assert (await ask(running, url)).status_code == 200


async def test_a_server_that_is_not_there(start: Start, source: Source) -> None:
    running = await fetching(start, source, fetch_networks="127.0.0.0/8")
    assert_refused(running, await ask(running, f"http://127.0.0.9:{source.port}/"), 424, "fetch_failed")


async def test_a_name_service_that_hangs(start: Start, source: Source) -> None:
    class Hanging:
        async def resolve(self, host: str, port: int) -> list[str]:
            await asyncio.sleep(60)
            raise AssertionError

    running = await fetching(start, source, resolver=Hanging(), fetch_connect_timeout_s=0.1)
    async with asyncio.timeout(5):
        response = await ask(running, source.url(host="videos.example"))
    assert_refused(running, response, 424, "fetch_timeout")


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


def tls_for(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_https_checks_the_name_although_the_address_is_pinned(
    start: Start, authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    names = Names({"videos.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})
    async with serving(tls=tls_for(authority[0], "videos.example")) as source:
        source.video("/v.mp4", VIDEO)
        source.redirect("/down", source.url(host="videos.example"))
        running = await fetching(start, source, resolver=names, fetch_ca_path=authority[1])
        assert (await ask(running, source.url(scheme="https", host="videos.example"))).status_code == 200
        running.router.asked.clear()
        wrong_name = await ask(running, source.url(scheme="https", host="other.example"))
        assert_refused(running, wrong_name, 424, "source_refused")
        downgrade = await ask(running, source.url("/down", scheme="https", host="videos.example"))
        assert_refused(running, downgrade, 422, "url_refused")
        assert "from https to http" in downgrade.json()["detail"]
        untrusting = await fetching(start, source, resolver=names, spool_dir=tmp_path / "spool")
        refused = await ask(untrusting, source.url(scheme="https", host="videos.example"))
        assert_refused(untrusting, refused, 424, "source_refused")
        assert "certificate" in refused.json()["detail"]


async def test_a_client_that_leaves_ends_the_fetch(start: Start, source: Source) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(half)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    source.answers["/slow"] = endless
    running = await fetching(start, source, fetch_stall_s=30)
    body = f'{{"url": "{source.url("/slow")}"}}'.encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        while not running.spooled():
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/decisions", "raw_path": b"/v1/decisions", "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
    }  # fmt: skip
    async with asyncio.timeout(10):
        await running.serve(scope, receive, send)
        await source.gone.wait()
    assert (sent, running.spooled()) == ([], [])
    assert await running.metric("winnow_gateway_spool_bytes") == 0


async def test_a_fetch_is_refused_when_the_gateway_stops(start: Start, source: Source) -> None:
    source.serve("/hold", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", hold=True)
    running = await fetching(start, source, fetch_stall_s=30)
    asking = asyncio.create_task(ask(running, source.url("/hold")))
    while not running.spooled():
        await asyncio.sleep(0.01)
    running.app.state.admission.stopped.set()
    assert_refused(running, await asyncio.wait_for(asking, 5), 503, "not_ready")


async def test_room_is_booked_before_the_fetch_and_given_back_as_the_size_is_known(
    start: Start, source: Source, tmp_path: Path
) -> None:
    running = await fetching(start, source, max_video_bytes=1_000_000, spool_max_bytes=1_500_000)
    running.router.delay_s = 60
    first = asyncio.create_task(ask(running, source.url()))
    await running.router.started.wait()
    assert await running.metric("winnow_gateway_spool_bytes") == len(VIDEO)
    running.router.delay_s = 0
    assert (await ask(running, source.url())).status_code == 200
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    small = await fetching(start, source, spool_max_bytes=999, max_video_bytes=1_000, spool_dir=tmp_path / "spool")
    connections = source.connections
    assert_refused(small, await ask(small, source.url()), 507, "storage_full")
    assert source.connections == connections
