"""Bad input through the gateway: its status and code, nothing left behind, and the services still answering."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import MAX_VIDEO_BYTES, Stack
from tests.e2e.test_cascade import decide

PROBLEM = "application/problem+json"


@pytest.fixture(autouse=True)
def still_answering(stack: Stack, client: httpx.Client, harmless: Path) -> Iterator[None]:
    """After every bad input: all services live, nothing spooled, and a good video is decided."""
    yield
    for base in (stack.gateway, stack.router, stack.ranker):
        assert httpx.get(f"{base}/health/ready").status_code == 200
    assert stack.spooled() == []
    assert decide(client, harmless).verdict in ("allow", "review", "block")


def send(
    client: httpx.Client, video: bytes, *, request: str | None = None, deadline_ms: str | None = None
) -> httpx.Response:
    data = {"request": request} if request is not None else None
    headers = {"Winnow-Deadline-Ms": deadline_ms} if deadline_ms is not None else None
    return client.post("/v1/decisions", files={"video": ("v.mp4", video, "video/mp4")}, data=data, headers=headers)


def expect(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    body: dict[str, object] = response.json()
    assert (response.status_code, body["code"]) == (status, code), response.text
    assert response.headers["content-type"].startswith(PROBLEM)
    assert body["request_id"] == response.headers["X-Request-Id"]
    assert body["detail"]
    return body


@pytest.mark.parametrize(
    "junk", [b"not a video at all\n" * 50, os.urandom(4096), b"\x89PNG\r\n\x1a\n" + os.urandom(500)]
)
def test_not_a_video(client: httpx.Client, junk: bytes) -> None:
    expect(send(client, junk), 415, "not_a_video")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated(client: httpx.Client, violation: Path, share: float) -> None:
    whole = violation.read_bytes()
    expect(send(client, whole[: int(len(whole) * share)]), 422, "truncated_video")


def test_zero_bytes(client: httpx.Client) -> None:
    expect(send(client, b""), 422, "empty_video")


def test_over_the_size_limit(client: httpx.Client) -> None:
    expect(send(client, b"\0" * (MAX_VIDEO_BYTES + 200_000)), 413, "too_large")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"{}"),
        ("multipart/form-data", b"no boundary"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=video; filename=v\r\n\r\nhalf",
        ),
        ("multipart/form-data; boundary=x", b"this is not multipart"),
        ("multipart/form-data; boundary=x", b""),
    ],
)
def test_malformed_parts(client: httpx.Client, content_type: str, body: bytes) -> None:
    response = client.post("/v1/decisions", content=body, headers={"Content-Type": content_type})
    expect(response, 400, "malformed_request")


def test_missing_video_part(client: httpx.Client) -> None:
    expect(client.post("/v1/decisions", files={"request": (None, "{}")}), 400, "malformed_request")


def test_request_that_is_no_json(client: httpx.Client, harmless: Path) -> None:
    expect(send(client, harmless.read_bytes(), request="{title:"), 400, "malformed_request")


@pytest.mark.parametrize(
    ("request_part", "pointer"),
    [
        ({"context": {"title": "x" * 1001}}, "request/context/title"),
        ({"mode": "maybe"}, "request/mode"),
        ({"surprise": 1}, "request/surprise"),
    ],
)
def test_request_with_wrong_fields(
    client: httpx.Client, harmless: Path, request_part: dict[str, object], pointer: str
) -> None:
    body = expect(send(client, harmless.read_bytes(), request=json.dumps(request_part)), 422, "invalid_payload")
    errors = body["errors"]
    assert isinstance(errors, list)
    assert [error["pointer"] for error in errors] == [pointer]


def test_unknown_issue(client: httpx.Client, harmless: Path) -> None:
    body = expect(send(client, harmless.read_bytes(), request='{"issues": ["piracy"]}'), 422, "unknown_issue")
    assert "piracy" in str(body["detail"])


def test_deadline_that_has_passed(client: httpx.Client, harmless: Path) -> None:
    expect(send(client, harmless.read_bytes(), deadline_ms="0"), 504, "deadline_exceeded")
    new = '{"context": {"title": "not in the cache"}}'
    expect(send(client, harmless.read_bytes(), request=new, deadline_ms="1"), 504, "deadline_exceeded")


def test_deadline_that_is_no_number(client: httpx.Client, harmless: Path) -> None:
    expect(send(client, harmless.read_bytes(), deadline_ms="soon"), 400, "malformed_request")


def test_unknown_route_and_method(client: httpx.Client) -> None:
    expect(client.get("/v1/nothing"), 404, "not_found")
    expect(client.delete("/v1/decisions"), 405, "method_not_allowed")
