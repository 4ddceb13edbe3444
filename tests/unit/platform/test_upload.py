"""Uploads: whatever happens, the spool is empty afterwards."""

import hashlib
import json
import random
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import MalformedRequest
from services.web.multipart import FormParser, PartData, PartEnded, PartStarted, boundary_of, safe_filename
from tests.unit.platform.conftest import END, FORM, MAX_JSON, MAX_VIDEO, Service, build, part, raw_call

VIDEO = random.Random(1).randbytes(2_500_000)
NOTE = b'{"title": "x", "count": 3}'
BIG = b"x" * (MAX_VIDEO + 1)


@pytest.fixture(autouse=True)
def _empty_spool(service: Service) -> Iterator[None]:
    yield
    assert service.spooled() == []


async def chunked(body: bytes, size: int = 7_001) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("json_first", [True, False])
@pytest.mark.parametrize("announced", [True, False])
async def test_round_trip(service: Service, json_first: bool, announced: bool) -> None:
    parts = [part("request", NOTE), part("video", VIDEO, filename="C:\\clips\\a.mp4")]
    body = b"".join(parts if json_first else parts[::-1]) + END
    async with service.client() as client:
        answer = await client.post("/v1/uploads", content=body if announced else chunked(body), headers=FORM)
    assert answer.status_code == 200, answer.text
    assert service.last_upload == VIDEO
    stored = answer.json()
    assert (stored["size"], stored["sha256"]) == (len(VIDEO), hashlib.sha256(VIDEO).hexdigest())
    assert (stored["filename"], stored["note"]["count"]) == ("a.mp4", 3)


async def test_what_curl_and_browsers_send(service: Service) -> None:
    async with service.client() as client:
        answer = await client.post("/v1/uploads", files={"video": ("clip.mp4", VIDEO[:10], "video/mp4")})
    assert (answer.status_code, answer.json()["note"]) == (200, None)


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        pytest.param(part("request", NOTE) + END, 400, "malformed_request", "`video` is missing", id="no video"),
        pytest.param(END, 400, "malformed_request", "`video` is missing", id="no part"),
        pytest.param(b"", 400, "malformed_request", "closing boundary", id="no body"),
        pytest.param(part("video", b"abc"), 400, "malformed_request", "closing boundary", id="cut after a part"),
        pytest.param(part("video", VIDEO)[:-9], 400, "malformed_request", "closing boundary", id="cut in a part"),
        pytest.param(part("video", b"a") * 2 + END, 400, "malformed_request", "sent twice", id="video twice"),
        pytest.param(
            part("request", NOTE) * 2 + part("video", b"a") + END,
            400,
            "malformed_request",
            "sent twice",
            id="json twice",
        ),
        pytest.param(part("vidoe", b"a") + END, 400, "malformed_request", "`vidoe`", id="unknown part"),
        pytest.param(part("video", b"a", boundary="c"), 400, "malformed_request", "multipart", id="other boundary"),
        pytest.param(b"garbage" * 50, 400, "malformed_request", "multipart", id="garbage"),
        pytest.param(b"--b\r\nX: 1\r\n\r\na\r\n" + END, 400, "malformed_request", "Content-Disposition", id="no name"),
        pytest.param(
            b"--b\r\nContent-Disposition: form-data; name=video\r\nX: " + b"y" * 9_000,
            400,
            "malformed_request",
            "header",
            id="long header",
        ),
        pytest.param(b"--b\r\n" + b"X: 1\r\n" * 50, 400, "malformed_request", "header", id="many headers"),
        pytest.param(part("video", b"") + END, 422, "empty_video", "zero bytes", id="empty"),
        pytest.param(part("video", BIG) + END, 413, "too_large", str(MAX_VIDEO), id="large video"),
        pytest.param(part("request", b" " * (MAX_JSON + 1)), 413, "too_large", "`request`", id="large json"),
        pytest.param(
            part("request", b"{") + part("video", b"a") + END, 400, "malformed_request", "not JSON", id="broken json"
        ),
        pytest.param(
            part("video", b"a") + part("request", b"\xff\xfe") + END, 400, "malformed_request", "JSON", id="not utf-8"
        ),
        pytest.param(
            part("request", b'{"title": 1}') + part("video", b"a") + END,
            422,
            "invalid_payload",
            "request/title",
            id="payload",
        ),
    ],
)
@pytest.mark.parametrize("announced", [True, False])
async def test_failures(service: Service, body: bytes, status: int, code: str, words: str, announced: bool) -> None:
    async with service.client() as client:
        answer = await client.post("/v1/uploads", content=body if announced else chunked(body), headers=FORM)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        ("application/json", "Send `multipart/form-data` with a file part `video` and a JSON part `request`"),
        ("multipart/mixed; boundary=b", "`multipart/mixed`"),
        ("multipart/form-data", "no boundary"),
        ("multipart/form-data; boundary=", "no boundary"),
        ("multipart/form-data; boundary=" + "b" * 3_000, "boundary cannot be used"),
    ],
)
async def test_wrong_content_types(service: Service, content_type: str, words: str) -> None:
    async with service.client() as client:
        answer = await client.post("/v1/uploads", content=b"{}", headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert words in answer.json()["detail"]


async def test_a_length_that_is_too_large_is_refused_before_reading(service: Service) -> None:
    headers = {**FORM, "Content-Length": str(10**12)}
    sent = await raw_call(service.app, [], headers=headers)
    assert sent[0]["status"] == 413


async def test_a_length_that_chunks_make_untrue_is_refused_before_reading(service: Service) -> None:
    """A server believes the chunks, room in a spool is booked by the length."""
    headers = {**FORM, "Content-Length": "1", "Transfer-Encoding": "chunked"}
    sent = await raw_call(service.app, [], headers=headers)
    assert sent[0]["status"] == 400
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_endless_bytes_after_the_form_are_not_read(service: Service) -> None:
    body = part("video", b"a") + END + b"\r\n" * MAX_VIDEO
    async with service.client() as client:
        assert (await client.post("/v1/uploads", content=chunked(body, 60_000), headers=FORM)).status_code == 413


async def test_a_slow_upload(tmp_path: Path) -> None:
    service = build(tmp_path / "spool", upload_timeout_s=0.1)
    first = {"type": "http.request", "body": part("video", VIDEO)[:2_000_000], "more_body": True}
    sent = await raw_call(service.app, [first, 5.0], headers=FORM)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "upload_timeout"
    assert service.spooled() == []


async def test_a_client_that_leaves(service: Service) -> None:
    first = {"type": "http.request", "body": part("video", VIDEO)[:2_000_000], "more_body": True}
    assert await raw_call(service.app, [first, {"type": "http.disconnect"}], headers=FORM) == []
    assert service.sample("winnow_http_requests_total", method="POST", route="/v1/uploads", status="499") == 1


async def test_a_full_disk(service: Service) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        async with service.client() as client:
            answer = await client.post("/v1/uploads", content=part("video", VIDEO) + END, headers=FORM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (507, "storage_full", True)


async def test_the_deadline_starts_after_the_upload(service: Service) -> None:
    body = part("video", b"a") + END
    messages: list[Any] = [
        {"type": "http.request", "body": body[:30], "more_body": True},
        0.15,
        {"type": "http.request", "body": body[30:], "more_body": False},
    ]
    sent = await raw_call(service.app, messages, headers={**FORM, "Winnow-Deadline-Ms": "100"})
    assert sent[0]["status"] == 200
    sent = await raw_call(service.app, [messages[0], messages[2]], headers={**FORM, "Winnow-Deadline-Ms": "0"})
    assert sent[0]["status"] == 504


def test_boundaries_may_be_quoted() -> None:
    assert boundary_of('multipart/form-data; charset=utf-8; boundary="a b:c"', parts="") == b"a b:c"
    assert boundary_of("Multipart/Form-Data;boundary=x", parts="") == b"x"


@given(st.binary(max_size=400), st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=8))
def test_where_the_chunks_are_cut_does_not_matter(data: bytes, sizes: list[int]) -> None:
    boundary = "\r\n--b-"
    if boundary.encode() in data:
        data = data.replace(b"-", b"")
    body = part("video", data, filename="ä.mp4", boundary="b-1") + b"--b-1--\r\n"
    parser = FormParser(b"b-1")
    events = []
    turn = 0
    while body:
        size = sizes[turn % len(sizes)]
        events += parser.feed(body[:size])
        body, turn = body[size:], turn + 1
    assert parser.complete
    assert events[0] == PartStarted("video", "ä.mp4")
    assert events[-1] == PartEnded()
    assert b"".join(e.data for e in events if isinstance(e, PartData)) == data


def test_a_parser_refuses_what_is_no_form() -> None:
    with pytest.raises(MalformedRequest):
        FormParser(b"b").feed(b"--c\r\n")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("a\x00\nb.mp4", "ab.mp4"),
        ("/", None),
        ("x" * 300, "x" * 255),
        ("C:\\v\\k.mp4", "k.mp4"),
    ],
)
def test_filenames(name: str, safe: str | None) -> None:
    assert safe_filename(name) == safe
