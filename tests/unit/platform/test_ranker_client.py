"""The pool of rankers: choice, retry, circuit breaker; every replica is a small app that answers as it is told."""

import asyncio
from dataclasses import dataclass, field

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response

from services.clients import RankerClient
from services.clients.replicas import CoolDown, ReplicaSet
from services.contracts import Frame, RankRequest, RankResult
from services.contracts.policy_slice import IssueQuestions
from services.contracts.rank import ModelIdentity
from services.deadline import Deadline
from services.errors import (
    DeadlineExceeded,
    Internal,
    InvalidPayload,
    NotReady,
    Overloaded,
    RankerUnavailable,
    WinnowError,
)
from services.web.problems import problem_response

REQUEST = RankRequest(
    frames=(Frame(time_s=0.0, jpeg="/9j/2Q=="),),
    issues=(IssueQuestions(id="gore", name="gore", definition="Blood."),),
)


@dataclass
class Pool:
    """`answers` says by URL what a replica does: an error to answer, seconds to wait, or None for no connection."""

    answers: dict[str, WinnowError | float | None]
    calls: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def transport(self, url: str) -> httpx.AsyncBaseTransport:
        app = FastAPI()

        @app.post("/v1/rank")
        async def rank(request: RankRequest) -> Response:
            self.calls.append(url)
            assert request.frames[0].jpeg == b"\xff\xd8\xff\xd9"
            answer = self.answers[url]
            if isinstance(answer, WinnowError):
                return problem_response(answer)
            await asyncio.sleep(answer or 0.0)
            result = RankResult(issues=(), model=ModelIdentity(name=url, fingerprint="f", engine="reference"))
            return Response(result.model_dump_json(), media_type="application/json")

        return Switch(self, url, httpx.ASGITransport(app))

    def client(self, cool_down: CoolDown | None = None) -> RankerClient:
        return RankerClient(list(self.answers), transport=self.transport, cool_down=cool_down)


@dataclass
class Switch(httpx.AsyncBaseTransport):
    pool: Pool
    url: str
    inner: httpx.ASGITransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.pool.answers[self.url] is None:
            self.pool.calls.append(self.url)
            raise httpx.ConnectError("refused", request=request)
        return await self.inner.handle_async_request(request)


A, B = "http://a", "http://b"


async def test_calls_are_spread_over_the_replicas() -> None:
    pool = Pool({A: 0.02, B: 0.02})
    async with pool.client() as client:
        await asyncio.gather(*(client.rank(REQUEST, Deadline.after(5)) for _ in range(10)))
    assert sorted(pool.calls) == [A] * 5 + [B] * 5


async def test_a_slow_replica_gets_less() -> None:
    pool = Pool({A: 0.5, B: 0.0})
    async with pool.client() as client:
        slow = asyncio.create_task(client.rank(REQUEST, Deadline.after(5)))
        await asyncio.sleep(0.05)
        for _ in range(4):
            await client.rank(REQUEST, Deadline.after(5))
        await slow
    assert pool.calls.count(A) == 1


@pytest.mark.parametrize("broken", [None, NotReady("loading"), Overloaded("full"), Internal("oops")])
async def test_another_replica_is_tried(broken: WinnowError | None) -> None:
    pool = Pool({A: broken, B: 0.0})
    async with pool.client() as client:
        for _ in range(3):
            assert (await client.rank(REQUEST, Deadline.after(5))).model.name == B
    assert A in pool.calls


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({A: None, B: None}, RankerUnavailable),
        ({A: NotReady("loading"), B: None}, RankerUnavailable),
        ({A: Overloaded("full", retry_after_s=4), B: None}, Overloaded),
        ({A: Internal("oops")}, RankerUnavailable),
        ({A: 5.0, B: 5.0}, DeadlineExceeded),
    ],
)
async def test_no_replica_helps(answers: dict[str, WinnowError | float | None], expected: type[WinnowError]) -> None:
    pool = Pool(answers)
    async with pool.client() as client:
        with pytest.raises(expected) as caught:
            await client.rank(REQUEST, Deadline.after(0.1))
    assert len(pool.calls) <= len(answers)
    if expected is Overloaded:
        assert caught.value.retry_after_s == 4


async def test_a_refusal_is_not_asked_again() -> None:
    pool = Pool({A: InvalidPayload("bad frame"), B: InvalidPayload("bad frame")})
    async with pool.client() as client:
        with pytest.raises(InvalidPayload, match="bad frame"):
            await client.rank(REQUEST, Deadline.after(5))
        assert len(pool.calls) == 1


async def test_a_late_request_is_not_sent() -> None:
    pool = Pool({A: 0.0})
    async with pool.client() as client:
        with pytest.raises(DeadlineExceeded):
            await client.rank(REQUEST, Deadline.after(0))
    assert pool.calls == []


async def test_late_requests_are_not_the_replicas_fault() -> None:
    pool = Pool({A: 0.0})
    async with pool.client() as client:
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                await client.rank(REQUEST, Deadline.after(0))
        assert (await client.rank(REQUEST, Deadline.after(5))).model.name == A


async def test_a_refusal_shows_that_the_replica_works() -> None:
    pool = Pool({A: 0.0})
    async with pool.client(CoolDown(faults=2)) as client:
        for answer in (Internal("oops"), InvalidPayload("bad frame"), Internal("oops")):
            pool.answers[A] = answer
            with pytest.raises(RankerUnavailable if isinstance(answer, Internal) else InvalidPayload):
                await client.rank(REQUEST, Deadline.after(5))
        pool.answers[A] = 0.0
        assert (await client.rank(REQUEST, Deadline.after(5))).model.name == A


async def test_a_dead_replica_rests_and_comes_back() -> None:
    pool = Pool({A: None})
    async with pool.client(CoolDown(first_s=0.05)) as client:
        for _ in range(3):
            with pytest.raises(RankerUnavailable):
                await client.rank(REQUEST, Deadline.after(5))
        assert pool.calls == [A]
        pool.answers[A] = 0.0
        await asyncio.sleep(0.06)
        assert (await client.rank(REQUEST, Deadline.after(5))).model.name == A


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def replicas(clock: Clock) -> ReplicaSet[str]:
    cool_down = CoolDown(first_s=1, longest_s=8, faults=3)
    return ReplicaSet([("a", "A")], cool_down=cool_down, clock=clock)


def test_soft_failures_open_the_circuit_only_in_a_row() -> None:
    chosen = replicas(Clock())
    (replica,) = chosen.replicas
    for _ in range(2):
        chosen.failed(replica, at_once=False)
    chosen.succeeded(replica)
    for _ in range(2):
        chosen.failed(replica, at_once=False)
    assert chosen.pick() is replica
    chosen.failed(replica, at_once=False)
    assert chosen.pick() is None


def test_the_rest_doubles_up_to_a_limit() -> None:
    clock = Clock()
    chosen = replicas(clock)
    (replica,) = chosen.replicas
    rests = []
    for _ in range(6):
        chosen.failed(replica, at_once=True)
        rests.append(chosen.rest_s())
        clock.now += rests[-1]
    assert rests == [1, 2, 4, 8, 8, 8]
    chosen.succeeded(replica)
    assert chosen.pick() is replica


def test_after_the_rest_one_call_tries_it() -> None:
    clock = Clock()
    chosen = replicas(clock)
    (replica,) = chosen.replicas
    chosen.failed(replica, at_once=True)
    clock.now = 1.0
    assert chosen.pick() is replica
    with chosen.calling(replica):
        assert chosen.pick() is None
    assert chosen.pick() is replica


def test_a_pool_has_replicas() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ReplicaSet([])


async def test_a_busy_replica_is_asked_last_and_says_overloaded() -> None:
    pool = Pool({A: Overloaded("full", retry_after_s=30)})
    async with pool.client() as client:
        for _ in range(2):
            with pytest.raises(Overloaded):
                await client.rank(REQUEST, Deadline.after(5))
        pool.answers[A] = 0.0
        assert (await client.rank(REQUEST, Deadline.after(5))).model.name == A


async def test_a_busy_replica_is_spared_while_another_is_free() -> None:
    pool = Pool({A: Overloaded("full", retry_after_s=30), B: 0.0})
    async with pool.client() as client:
        for _ in range(6):
            await client.rank(REQUEST, Deadline.after(5))
    assert pool.calls.count(A) <= 1
