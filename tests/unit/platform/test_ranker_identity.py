"""Who the ranker pool says it is: common to all replicas that answer, or unknown."""

import asyncio
import time

import httpx
from fastapi import FastAPI

from services.clients import RankerClient
from services.contracts import ModelIdentity
from services.deadline import Deadline

ONE = ModelIdentity(name="m", fingerprint="f", engine="reference", configuration="c")
OTHER = ONE.model_copy(update={"configuration": "c2"})
OLD = ONE.model_copy(update={"configuration": ""})
DOWN, SLOW = "down", "slow"

Answer = ModelIdentity | str


def transport(answer: Answer) -> httpx.AsyncBaseTransport:
    app = FastAPI()

    @app.get("/v1/model")
    async def model() -> ModelIdentity:
        if answer == SLOW:
            await asyncio.sleep(60)
        assert isinstance(answer, ModelIdentity)
        return answer

    if answer == DOWN:
        return httpx.MockTransport(_refused)
    return httpx.ASGITransport(app)


def _refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


async def identity(*answers: Answer) -> ModelIdentity | None:
    by_url = {f"http://r{number}": answer for number, answer in enumerate(answers)}
    async with RankerClient(list(by_url), transport=lambda url: transport(by_url[url])) as client:
        return await client.identity(Deadline.after(0.2))


async def test_replicas_that_agree_have_one_identity() -> None:
    assert await identity(ONE, ONE) == ONE


async def test_replicas_that_differ_have_none() -> None:
    assert await identity(ONE, OTHER) is None


async def test_a_replica_that_does_not_answer_is_left_out() -> None:
    began = time.monotonic()
    assert await identity(ONE, DOWN, SLOW) == ONE
    assert time.monotonic() - began < 10
    assert await identity(DOWN, DOWN) is None


async def test_a_replica_that_does_not_know_its_configuration_has_none() -> None:
    assert await identity(OLD) is None
    assert await identity(ONE, OLD) is None
