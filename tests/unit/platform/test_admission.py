"""Places, draining, and work that ends when its caller leaves or the service stops."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from services.errors import NotReady, Overloaded
from services.web import Admission, while_wanted


async def test_a_place_is_refused_when_all_are_taken_and_given_back_on_errors() -> None:
    refusals: list[str] = []
    admission = Admission(1, service="sample", retry_after_s=3.0)
    admission.watch(refusals.append)
    with admission.place():
        assert admission.taken == 1
        with pytest.raises(Overloaded, match="1 places of this sample") as caught, admission.place():
            pass
    assert caught.value.retry_after_s == 3.0
    with pytest.raises(ZeroDivisionError), admission.place():
        raise ZeroDivisionError
    assert admission.taken == 0
    assert refusals == ["overloaded"]


async def test_a_draining_service_takes_nothing_new_and_stops_the_rest_after_its_grace() -> None:
    refusals: list[str] = []
    admission = Admission(2, service="sample", retry_after_s=1.0)
    admission.watch(refusals.append)
    with admission.place():
        admission.drain(0.02)
        assert not admission.stopped.is_set()
        with pytest.raises(NotReady), admission.place():
            pass
        async with asyncio.timeout(5):
            await admission.stopped.wait()
    assert refusals == ["draining"]


async def test_a_failed_service_takes_nothing_new_and_stops_the_rest_at_once() -> None:
    refusals: list[str] = []
    admission = Admission(2, service="sample", retry_after_s=1.0)
    admission.watch(refusals.append)
    with admission.place():
        admission.refuse("engine: it died")
        assert admission.stopped.is_set()
        with pytest.raises(NotReady, match="engine: it died"), admission.place():
            pass
    assert refusals == ["failed"]


class Connection:
    """An ASGI receive whose caller leaves when told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_work_is_cancelled_when_its_caller_leaves() -> None:
    connection, cancelled = Connection(), asyncio.Event()

    async def work() -> None:
        connection.left.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ClientDisconnect):
        await while_wanted(work(), receive=connection.receive, stopped=asyncio.Event())
    assert cancelled.is_set()


async def test_work_is_refused_when_the_service_stops() -> None:
    stopped, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        stopped.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(NotReady):
        await while_wanted(work(), receive=Connection().receive, stopped=stopped)
    assert cancelled.is_set()


async def test_work_that_ends_gives_its_result_or_its_error() -> None:
    async def wrong() -> int:
        raise Overloaded("full")

    assert await while_wanted(asyncio.sleep(0, 3), receive=Connection().receive, stopped=asyncio.Event()) == 3
    with pytest.raises(Overloaded):
        await while_wanted(wrong(), receive=Connection().receive, stopped=asyncio.Event())


async def test_an_upload_that_reads_its_own_body_is_refused_when_the_service_stops() -> None:
    stopped, cleaned = asyncio.Event(), asyncio.Event()

    async def receiving() -> None:
        stopped.set()
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.set()

    with pytest.raises(NotReady):
        await while_wanted(receiving(), receive=None, stopped=stopped)
    assert cleaned.is_set()
    assert await while_wanted(asyncio.sleep(0, 3), receive=None, stopped=asyncio.Event()) == 3


async def test_what_was_made_when_the_caller_was_given_up_is_put_away() -> None:
    """A cancellation may come in the moment in which the work ends: nobody gets its result."""
    left: list[str] = []

    @asynccontextmanager
    async def upload() -> AsyncIterator[None]:
        try:
            yield
        finally:
            left.append("left")

    async def work() -> AbstractAsyncContextManager[None]:
        made = upload()
        await made.__aenter__()
        asking.cancel()
        return made

    asking = asyncio.create_task(while_wanted(work(), receive=None, stopped=asyncio.Event()))
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert left == ["left"]
