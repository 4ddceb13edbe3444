"""Clients against small apps: what travels, what comes back, what an error becomes."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import SecretStr
from starlette.responses import JSONResponse, Response

from services.clients import GatewayClient, RouterClient, http
from services.clients.multipart import UploadBody
from services.contracts import ModerationRequest, PolicySlice, RouteRequest
from services.contracts.policy_slice import IssuePolicy
from services.deadline import Deadline
from services.errors import (
    DeadlineExceeded,
    Internal,
    NotFound,
    NotReady,
    Overloaded,
    RouterUnavailable,
    UndecodableVideo,
    UnknownIssue,
    WinnowError,
)
from services.telemetry import trace
from services.web.problems import problem_response
from tests.unit.platform.conftest import Note, Service, build

VIDEO = random.Random(2).randbytes(900_000)
ROUTE = RouteRequest(
    sha256="0" * 64,
    policy=PolicySlice(
        policy_hash="0" * 12,
        issues=(IssuePolicy(id="gore", name="gore", definition="Blood.", router_threshold=0.5),),
    ),
)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / 'a "clip"\n.mp4'
    path.write_bytes(VIDEO)
    return path


def answering(response: Response | WinnowError, *, wait_s: float = 0.0) -> httpx.ASGITransport:
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def anything(request: Request) -> Response:
        await request.body()
        await asyncio.sleep(wait_s)
        return problem_response(response) if isinstance(response, WinnowError) else response

    return httpx.ASGITransport(app)


class Unreachable(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)


async def test_an_upload_arrives_as_it_was_sent(service: Service, video: Path) -> None:
    body = await UploadBody.of(video, Note(title="ä", count=2))
    client = http.make_client("http://service", transport=httpx.ASGITransport(service.app))
    with trace.use(trace.TraceContext.start("r-1")) as context:
        async with client:
            answer = await http.call(
                client, "POST", "/v1/uploads", deadline=Deadline.after(7), content=body, headers=body.headers
            )
    assert answer.status_code == 200, answer.text
    assert service.last_upload == VIDEO
    stored = answer.json()
    assert stored["note"] == {"title": "ä", "count": 2}
    assert 6 < stored["remaining_s"] <= 7
    assert (answer.headers["X-Request-Id"], stored["trace_id"]) == ("r-1", context.trace_id)
    sent = b"".join([chunk async for chunk in body])
    assert len(sent) == int(body.headers["Content-Length"])


async def test_a_file_that_shrinks_is_not_sent_as_if_it_were_whole(video: Path) -> None:
    body = await UploadBody.of(video, Note(title="x"))
    video.write_bytes(b"short")
    with pytest.raises(OSError, match="shorter"):
        await anext(chunk async for chunk in body if not chunk)


async def test_the_token_is_sent(tmp_path: Path) -> None:
    service = build(tmp_path, token="right")
    for token, status in (("right", 200), ("wrong", 401)):
        transport = httpx.ASGITransport(service.app)
        async with http.make_client("http://service", token=SecretStr(token), transport=transport) as client:
            assert (await http.call(client, "GET", "/v1/items/1", deadline=Deadline.after(5))).status_code == status


async def test_the_deadline_ends_a_call(video: Path) -> None:
    async with RouterClient("http://router", transport=answering(JSONResponse({}), wait_s=5)) as client:
        with pytest.raises(DeadlineExceeded):
            await client.route(video, ROUTE, Deadline.after(0.05))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (UndecodableVideo("broken"), UndecodableVideo),
        (Overloaded("full", retry_after_s=3), Overloaded),
        (DeadlineExceeded("late"), DeadlineExceeded),
        (NotReady("loading"), RouterUnavailable),
        (Internal("oops"), RouterUnavailable),
        (UnknownIssue("not ours to say"), RouterUnavailable),
        (Response("<html>", status_code=502), RouterUnavailable),
        (Response("<html>", status_code=200), RouterUnavailable),
        (Response("slow down", status_code=429, headers={"Retry-After": "3"}), Overloaded),
    ],
)
async def test_what_the_routers_answer_means(
    video: Path, answer: Response | WinnowError, expected: type[WinnowError]
) -> None:
    async with RouterClient("http://router", transport=answering(answer)) as client:
        with pytest.raises(expected) as caught:
            await client.route(video, ROUTE, Deadline.after(5))
    assert type(caught.value) is expected
    if expected is Overloaded:
        assert caught.value.retry_after_s == 3


async def test_services_that_cannot_be_reached(video: Path) -> None:
    deadline = Deadline.after(5)
    async with RouterClient("http://router", transport=Unreachable()) as router:
        with pytest.raises(RouterUnavailable, match="ConnectError"):
            await router.route(video, ROUTE, deadline)
        with pytest.raises(RouterUnavailable):
            await router.bank(deadline)
        assert (await router.ready(deadline)).missing.keys() == {"service"}
    async with GatewayClient("http://gateway", transport=Unreachable()) as gateway:
        with pytest.raises(NotReady):
            await gateway.moderate(video, ModerationRequest(), deadline)


async def test_the_gateways_errors_are_passed_on(video: Path) -> None:
    async with GatewayClient("http://gateway", transport=answering(UnknownIssue("No issue `x`."))) as client:
        with pytest.raises(UnknownIssue, match="No issue `x`"):
            await client.moderate(video, ModerationRequest(), Deadline.after(5))
    async with GatewayClient("http://gateway", transport=answering(NotFound("none"))) as client:
        with pytest.raises(NotFound):
            await client.decision("../x", Deadline.after(5))


async def test_a_token_of_any_letters_travels(tmp_path: Path) -> None:
    token = "schl\u00fcssel \u043a\u043b\u044e\u0447"
    transport = httpx.ASGITransport(build(tmp_path, token=token).app)
    async with http.make_client("http://service", token=SecretStr(token), transport=transport) as client:
        assert (await http.call(client, "GET", "/v1/items/1", deadline=Deadline.after(5))).status_code == 200


async def test_readiness(service: Service) -> None:
    async with RouterClient("http://router", transport=httpx.ASGITransport(service.app)) as client:
        assert (await client.ready(Deadline.after(5))).status == "ok"
        service.missing = {"encoder": "loading"}
        assert (await client.ready(Deadline.after(5))).missing == {"encoder": "loading"}
