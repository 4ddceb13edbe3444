"""Bodies that are not what the API takes: form, parts, sizes, lengths, headers, and clients that leave or are slow."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from services.api_keys import digest_of, new_key
from tests.integration.catalogue.cascade import MAX_JSON, MAX_VIDEO, Cascade, problem_of, until
from tests.integration.catalogue.conftest import Start
from tests.integration.catalogue.raw import END, FORM, answer, hang_up, head, part, video

COVERS = ("malformed_request", "upload_timeout", "too_large", "not_found", "unauthorized", "forbidden")

LONG_BOUNDARY = "multipart/form-data; boundary=" + "x" * 300

MALFORMED: list[Any] = [
    pytest.param("application/xml", b"<a/>", id="XML"),
    pytest.param("application/json", b"{", id="broken JSON"),
    pytest.param("application/octet-stream", b"bytes", id="bare bytes"),
    pytest.param("multipart/mixed; boundary=b", video(b"x") + END, id="another multipart"),
    pytest.param("", b"bytes", id="no content type"),
    pytest.param("multipart/form-data", video(b"x") + END, id="no boundary"),
    pytest.param("multipart/form-data; boundary=", video(b"x") + END, id="empty boundary"),
    pytest.param(LONG_BOUNDARY, b"x", id="long boundary"),
    pytest.param(FORM, b"nothing like multipart", id="not multipart"),
    pytest.param(FORM, b"", id="empty body"),
    pytest.param(FORM, END, id="no part at all"),
    pytest.param(FORM, video(b"x"), id="no closing boundary"),
    pytest.param(FORM, part("request", b"{}") + END, id="no video"),
    pytest.param(FORM, video(b"x") + part("surprise", b"x") + END, id="unknown part"),
    pytest.param(FORM, video(b"x") + video(b"x") + END, id="the video twice"),
    pytest.param(FORM, video(b"x") + part("request", b"{}") * 2 + END, id="the request twice"),
    pytest.param(FORM, part("video", b"x") * 1_000 + END, id="a thousand parts"),
    pytest.param(FORM, b"--b\r\n\r\nno headers\r\n" + END, id="a part without headers"),
    pytest.param(FORM, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, id="a part without a name"),
    pytest.param(FORM, part("video", b"x", headers="X-Header: 1\r\n" * 50) + END, id="a flood of part headers"),
    pytest.param(FORM, part("video", b"x", headers=f"X: {'x' * 9_000}\r\n") + END, id="a long part header"),
]


@pytest.mark.parametrize(("content_type", "body"), MALFORMED)
async def test_malformed(cascade: Cascade, content_type: str, body: bytes) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await cascade.client.post("/v1/decisions", content=body, headers=headers)
    await cascade.refuses(response, 400, "malformed_request")


TOO_LARGE: list[Any] = [
    pytest.param(video(bytes(MAX_VIDEO + 1)) + END, id="video"),
    pytest.param(video(b"x") + part("request", b" " * (MAX_JSON + 1)) + END, id="request"),
    pytest.param(video(bytes(2 * MAX_VIDEO)) + END, id="body"),
]


@pytest.mark.parametrize("body", TOO_LARGE)
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "in chunks"])
async def test_too_large(cascade: Cascade, body: bytes, chunked: bool) -> None:
    async def pieces() -> Any:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    response = await cascade.client.post(
        "/v1/decisions", content=pieces() if chunked else body, headers={"Content-Type": FORM}
    )
    await cascade.refuses(response, 413, "too_large")


async def test_a_body_that_is_announced_as_too_large_is_not_read(cascade: Cascade) -> None:
    reader, writer = await cascade.connect()
    writer.write(head(10**12))
    await cascade.refuses(await answer(reader), 413, "too_large")
    await hang_up(writer)


async def test_a_body_that_is_longer_than_announced(cascade: Cascade) -> None:
    """What lies behind the announced end is another request to HTTP, and not one that can be read."""
    body = video(cascade.good) + END
    reader, writer = await cascade.connect()
    writer.write(head(len(body)) + body + b"more bytes than announced\r\n\r\n")
    assert (await answer(reader)).status_code == 200
    async with asyncio.timeout(10):
        rest = await reader.read()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400"), rest
    await hang_up(writer)
    await cascade.is_well()


async def test_a_closing_boundary_before_the_announced_end(cascade: Cascade) -> None:
    body = video(cascade.good) + END + b"an epilogue"
    response = await cascade.client.post("/v1/decisions", content=body, headers={"Content-Type": FORM})
    assert response.status_code == 200


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
async def test_a_client_that_leaves_in_mid_upload(cascade: Cascade, share: float) -> None:
    body = video(cascade.good) + END
    _, writer = await cascade.connect()
    left = 'winnow_http_requests_total{method="POST",route="/v1/decisions",service="gateway",status="499"}'
    before = await cascade.metric(left)
    writer.write(head(len(body)) + body[: int(len(body) * share)])
    await writer.drain()
    await until(lambda: cascade.app.state.admission.taken == 1)
    await hang_up(writer)
    await until(lambda: cascade.app.state.admission.taken == 0)
    assert await cascade.metric(left) == before + 1
    await cascade.is_well()


async def test_a_client_that_leaves_while_it_is_decided(cascade: Cascade) -> None:
    body = video(b"HANG----" + bytes(100)) + END
    _, writer = await cascade.connect()
    calls = cascade.router.calls
    writer.write(head(len(body)) + body)
    await until(lambda: cascade.router.calls > calls)
    await hang_up(writer)
    await until(lambda: cascade.app.state.admission.taken == 0, seconds=2.0)
    await cascade.is_well()


async def test_an_upload_that_is_too_slow(start: Start) -> None:
    async with start(gateway_settings={"upload_timeout_s": 0.5}) as cascade:
        body = video(cascade.good) + END
        reader, writer = await cascade.connect()
        writer.write(head(len(body)) + body[:500])
        await cascade.refuses(await answer(reader), 408, "upload_timeout")
        await hang_up(writer)
        # A drop now and then does not extend it.
        reader, writer = await cascade.connect()
        writer.write(head(len(body)))
        drops = asyncio.create_task(_drops(writer, body))
        await cascade.refuses(await answer(reader), 408, "upload_timeout")
        drops.cancel()
        await hang_up(writer)


async def _drops(writer: asyncio.StreamWriter, body: bytes) -> None:
    for byte in body:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def test_a_body_shorter_than_announced_waits_for_no_longer_than_an_upload(start: Start) -> None:
    async with start(gateway_settings={"upload_timeout_s": 0.5}) as cascade:
        body = video(cascade.good) + END
        reader, writer = await cascade.connect()
        writer.write(head(len(body) + 100) + body)
        await cascade.refuses(await answer(reader), 408, "upload_timeout")
        await hang_up(writer)


@pytest.mark.parametrize("lines", [50, 20_000], ids=["that is read", "that is not read"])
async def test_a_flood_of_headers(cascade: Cascade, lines: int) -> None:
    """HTTP headers beyond 64 KiB are refused by the server before there is a request that an error could name."""
    body = video(cascade.good) + END
    reader, writer = await cascade.connect()
    writer.write(head(len(body), headers="".join(f"X-Flood-{number}: {number}\r\n" for number in range(lines))) + body)
    response = await answer(reader)
    await hang_up(writer)
    assert response.status_code == (200 if lines == 50 else 400)
    await cascade.is_well()


BROKEN_HTTP = [
    b"nonsense\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
    head("many"),
    head(-1),
    head("5, 6"),
    b"POST /v1/decisions HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
]


@pytest.mark.parametrize("sent", BROKEN_HTTP)
async def test_what_is_not_http_gets_a_plain_400(cascade: Cascade, sent: bytes) -> None:
    reader, writer = await cascade.connect()
    writer.write(sent)
    response = await answer(reader)
    await hang_up(writer)
    assert (response.status_code, response.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    await cascade.is_well()


async def test_addresses_and_methods_that_there_are_not(cascade: Cascade) -> None:
    for path in ("/v1/nothing", "/v1/decisions/dec_" + "0" * 32, "/v1/decisions/..%2f..%2fetc", "/", "/v1/decisions/"):
        await cascade.refuses(await cascade.client.get(path), 404, "not_found")
    response = await cascade.client.delete("/v1/decisions")
    assert response.headers["Allow"] == "POST"
    await cascade.refuses(response, 405, "method_not_allowed")


async def test_a_caller_without_a_key_is_told_before_the_body(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(f'- {{id: platform, sha256: "{digest_of(new_key())}", scopes: [decide]}}\n', encoding="utf-8")
    async with start(gateway_settings={"api_keys_path": keys}) as cascade:
        for authorization in ("", "Authorization: Bearer wrong\r\n", "Authorization: Basic cmlnaHQ=\r\n"):
            reader, writer = await cascade.connect()
            writer.write(head(10**6, headers=authorization))
            response = await answer(reader)
            await hang_up(writer)
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            assert (response.status_code, problem_of(response).code) == (401, "unauthorized")
        assert cascade.spooled() == []


async def test_a_page_of_another_site_is_refused_before_the_body(cascade: Cascade) -> None:
    reader, writer = await cascade.connect()
    writer.write(head(10**6, headers="Origin: https://evil.example\r\n"))
    response = await answer(reader)
    await hang_up(writer)
    await cascade.refuses(response, 403, "forbidden")


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\\\x", "\u202e4pm.exe", "a" * 2_000, "x\0y"])
async def test_a_file_name_never_becomes_a_path(cascade: Cascade, name: str) -> None:
    body = part("video", cascade.good, filename=name) + END
    reader, writer = await cascade.connect()
    writer.write(head(len(body)) + body[:-100])
    await until(lambda: len(cascade.spooled()) == 1)
    (path,) = cascade.spooled()
    assert path.parent == cascade.settings.spool_path
    assert re.fullmatch(r"upload-\w+", path.name)
    writer.write(body[-100:])
    assert (await answer(reader)).status_code == 200
    await hang_up(writer)
    await cascade.is_well()
