"""Router or ranker down, slow, restarting or lying: the client gets the verdict of the policy's fail mode."""

import asyncio
import base64
import hashlib
import json
from typing import Any

import httpx
import pytest

from services.clients import RankerClient, RouterClient
from services.contracts import Decision, Frame, IssueQuestions, RankRequest
from services.deadline import DEADLINE_HEADER, Deadline
from services.errors import (
    Internal,
    NotReady,
    Overloaded,
    RankerUnavailable,
    RouterUnavailable,
    StorageFull,
    Unauthorized,
    WinnowError,
)
from tests.integration.catalogue.cascade import INTERNALS, Cascade, Line, down, problem_of
from tests.integration.catalogue.conftest import Start
from tests.integration.catalogue.raw import http_answer, lying
from tests.media_factory import BLUE, flat, render

COVERS = ("router_unavailable", "ranker_unavailable", "digest_mismatch", "deadline_exceeded")

HALF = b'{"media": {"duration_s": 3.0, "width": 64'
LIES: list[Any] = [
    pytest.param(b"", id="hangs up"),
    pytest.param(b"\x00\xff\x00garbage\r\n\r\n", id="garbage"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="half a header"),
    pytest.param(http_answer("200 OK", HALF, length=5_000), id="half an answer"),
    pytest.param(http_answer("200 OK", HALF), id="broken JSON"),
    pytest.param(http_answer("200 OK", b'{"media": 1, "surprise": []}'), id="another schema"),
    pytest.param(http_answer("200 OK", b"<html>welcome</html>", content_type="text/html"), id="HTML"),
    pytest.param(http_answer("200 OK", b"\xff\xfe\x00"), id="wrong UTF-8"),
    pytest.param(http_answer("204 No Content", b""), id="nothing"),
    pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", id="a redirect"),
    pytest.param(http_answer("500 Internal Server Error", b"Traceback: /srv/secret.py"), id="500 in text"),
    pytest.param(http_answer("502 Bad Gateway", b"<html>nginx</html>", content_type="text/html"), id="502 in HTML"),
    pytest.param(http_answer("503 Service Unavailable", b"{}"), id="503 without a problem"),
    pytest.param(http_answer("404 Not Found", b"{}"), id="404"),
    pytest.param(http_answer("400 Bad Request", b"Invalid HTTP request received."), id="400"),
    pytest.param(http_answer("418 I'm a teapot", b"{}"), id="an unknown status"),
    pytest.param(http_answer("200 OK", b"[" * 100_000), id="deep nesting"),
    pytest.param(http_answer("200 OK", b'{"a": "' + b"x" * 40_000_000 + b'"}'), id="a too large answer"),
]


def degraded(decision: Decision, *, by: str, verdicts: tuple[str, str]) -> None:
    """The decision is the fail mode's, for the issues arson and smoking."""
    assert decision.route == "degraded"
    assert {issue.reason for issue in decision.issues} == {by}
    assert tuple(issue.verdict for issue in decision.issues) == verdicts
    assert not INTERNALS.search(decision.model_dump_json())


@pytest.mark.parametrize("lie", LIES)
async def test_a_router_that_lies(start: Start, lie: bytes) -> None:
    async with lying() as router:
        router.says = lie
        async with start(gateway_settings={"router_url": router.url}, router_network=True) as cascade:
            degraded(await cascade.decide(), by="router_missing", verdicts=("block", "block"))
            assert router.asked == 1
            assert cascade.spooled() == []
            assert await cascade.metric('winnow_gateway_degraded_total{reason="router_unavailable"}') == 1


async def test_an_answer_without_an_end_is_not_read_to_the_deadline(start: Start) -> None:
    async with lying() as router:
        router.says, router.repeats = http_answer("200 OK", b" " * 1_000_000, length=10**12), 1_000
        async with start(gateway_settings={"router_url": router.url}, router_network=True) as cascade:
            degraded(await cascade.decide(), by="router_missing", verdicts=("block", "block"))
            assert router.said < 100


@pytest.mark.parametrize("lie", LIES)
async def test_a_ranker_that_lies(start: Start, lie: bytes) -> None:
    async with lying() as ranker:
        ranker.says = lie
        async with start(router_settings={"ranker_urls": (ranker.url,)}, ranker_network=True) as cascade:
            decision = await cascade.decide(mode="full")
            degraded(decision, by="ranker_missing", verdicts=("review", "allow"))
            assert decision.rank_missing in ("unavailable", "refused")
            assert ranker.asked == 1
            assert cascade.spooled() == []


async def test_what_gateway_and_router_know_is_not_what_the_client_sees(cascade: Cascade) -> None:
    nobody = Line(cascade.router.real, down)
    frame = Frame(time_s=0.0, jpeg=base64.b64encode(b"a picture"))
    issue = IssueQuestions(id="arson", name="arson", definition="Fire.")
    async with RouterClient("http://router", transport=nobody) as router:
        with pytest.raises(RouterUnavailable):
            await router.bank(Deadline.after(5))
    async with RankerClient(("http://ranker",), transport=nobody) as ranker:
        with pytest.raises(RankerUnavailable):
            await ranker.rank(RankRequest(frames=(frame,), issues=(issue,)), Deadline.after(5))
    cascade.router.answer = down
    assert (await cascade.send()).json()["route"] == "degraded"


async def test_a_router_that_is_down(cascade: Cascade) -> None:
    cascade.router.answer = down
    decision = await cascade.decide()
    degraded(decision, by="router_missing", verdicts=("block", "block"))
    assert (decision.verdict, decision.media, decision.rank_missing) == ("block", None, None)
    cascade.router.answer = None
    await cascade.is_well()


async def test_a_router_that_is_slow(cascade: Cascade) -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return await down(request)

    cascade.router.answer = slow
    response = await cascade.send(**{DEADLINE_HEADER: "400"})
    cascade.router.answer = None
    await cascade.refuses(response, 504, "deadline_exceeded")


async def test_a_router_that_restarts_is_asked_again(start: Start) -> None:
    async with start(gateway_settings={"router_attempts": 2}) as cascade:
        cascade.router.answer = _once(cascade.router, down)
        assert (await cascade.decide(mode="full")).route == "refined"
        assert cascade.router.calls == 2


async def test_bytes_that_change_on_the_way_to_the_router(start: Start) -> None:
    async def corrupt(request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = b"".join([chunk async for chunk in request.stream])
        changed = body.replace(b"isom", b"isoX")
        assert changed != body
        again = httpx.Request(request.method, request.url, headers=request.headers, content=changed)
        response = await cascade.router.real.handle_async_request(again)
        told.append(json.loads(await response.aread())["code"])
        return response

    told: list[str] = []
    async with start(gateway_settings={"router_attempts": 2}) as cascade:
        cascade.router.answer = _once(cascade.router, corrupt)
        decision = await cascade.decide(mode="full")
        assert (decision.route, cascade.router.calls) == ("refined", 2)
        assert told == ["digest_mismatch"]
        assert decision.sha256 == hashlib.sha256(cascade.good).hexdigest()
        cascade.router.answer = corrupt
        degraded(await cascade.decide(mode="full"), by="router_missing", verdicts=("block", "block"))
        cascade.router.answer = None
        await cascade.is_well()


def _once(line: Line, answer: Any) -> Any:
    async def first(request: httpx.Request) -> httpx.Response:
        line.answer = None
        response: httpx.Response = await answer(request)
        return response

    return first


async def test_a_router_of_which_every_place_is_taken(start: Start) -> None:
    async with start(router_settings={"max_requests": 1}, gateway_settings={"router_attempts": 1}) as cascade:
        hanging = asyncio.create_task(cascade.send(b"HANG----" + bytes(100)))
        async with asyncio.timeout(20):
            while len(cascade.spooled()) < 2:
                await asyncio.sleep(0.01)
        degraded(await cascade.decide(), by="router_missing", verdicts=("block", "block"))
        assert await cascade.metric('winnow_gateway_degraded_total{reason="router_overloaded"}') == 1
        assert problem_of(await hanging).code == "video_refused"
        await cascade.is_well()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (NotReady("The seed bank is empty."), "unavailable"),
        (StorageFull("The router's disk is full."), "unavailable"),
        (Internal("A fault."), "unavailable"),
        (Unauthorized("A wrong token."), "unavailable"),
        (Overloaded("Every place is taken."), "overloaded"),
    ],
    ids=lambda each: getattr(each, "code", each),
)
async def test_what_the_router_says_of_itself_is_no_error_of_the_client(
    cascade: Cascade, error: WinnowError, why: str
) -> None:
    async def says(request: httpx.Request) -> httpx.Response:
        return httpx.Response(error.status, content=error.problem("r").model_dump_json())

    counted = f'winnow_gateway_degraded_total{{reason="router_{why}"}}'
    before = await cascade.metric(counted)
    cascade.router.answer = says
    degraded(await cascade.decide(), by="router_missing", verdicts=("block", "block"))
    assert await cascade.metric(counted) == before + 1


async def test_a_ranker_that_is_down(start: Start) -> None:
    async with start() as cascade:
        cascade.ranker.answer = down
        decision = await cascade.decide(mode="full")
        degraded(decision, by="ranker_missing", verdicts=("review", "allow"))
        assert (decision.verdict, decision.rank_missing) == ("review", "unavailable")
        assert decision.media is not None


async def test_a_ranker_that_restarts_is_asked_again_after_its_rest(start: Start) -> None:
    async with start() as cascade:
        assert (await cascade.decide(mode="full")).route == "refined"
        cascade.ranker.answer = down
        assert (await cascade.decide(mode="full")).rank_missing == "unavailable"
        cascade.ranker.answer, calls = None, cascade.ranker.calls
        # The circuit is open for a second: the ranker is back and not asked yet.
        assert (await cascade.decide(mode="full")).rank_missing == "unavailable"
        assert cascade.ranker.calls == calls
        await asyncio.sleep(1.1)
        await cascade.is_well()
        assert cascade.ranker.calls == calls + 1


async def test_a_ranker_that_is_slow_leaves_the_router_time_to_answer(start: Start) -> None:
    async with start(engine_s=4.0) as cascade:
        decision = await cascade.decide(mode="full", **{DEADLINE_HEADER: "2500"})
        degraded(decision, by="ranker_missing", verdicts=("review", "allow"))
        assert decision.rank_missing == "deadline"
        await asyncio.sleep(2.0)
        await cascade.is_well()


async def test_a_ranker_of_which_every_place_is_taken(start: Start) -> None:
    async with start(ranker_settings={"max_waiting": 1}, engine_s=3.0) as cascade:
        first = asyncio.create_task(cascade.decide(mode="full"))
        async with asyncio.timeout(20):
            while not cascade.ranker.calls:
                await asyncio.sleep(0.01)
        decision = await cascade.decide(mode="full")
        degraded(decision, by="ranker_missing", verdicts=("review", "allow"))
        assert decision.rank_missing == "overloaded"
        assert (await first).route == "refined"


async def test_what_does_not_escalate_needs_no_ranker(cascade: Cascade, tmp_path: Any) -> None:
    other = render(tmp_path / "blue.mp4", lambda _: flat(BLUE), frames=24).read_bytes()
    cascade.ranker.answer = down
    decision = await cascade.decide(other)
    assert (decision.route, decision.verdict) == ("filtered", "allow")
