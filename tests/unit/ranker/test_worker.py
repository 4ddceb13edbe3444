"""The serial worker: order, departures, deadlines."""

import asyncio
import threading
import time
from functools import partial

import pytest

from ranker_svc.engines.worker import SerialWorker
from services.deadline import Deadline
from services.errors import DeadlineExceeded

HELD_S = 10.0


async def blocked(worker: SerialWorker, gate: threading.Event) -> "asyncio.Task[bool]":
    """A call that holds the thread until the gate opens."""
    running = threading.Event()

    def hold() -> bool:
        running.set()
        return gate.wait(HELD_S)

    task = asyncio.create_task(worker.run(hold))
    await asyncio.to_thread(running.wait, 10)
    return task


def test_who_left_while_waiting_is_skipped_and_the_others_run_in_order() -> None:
    async def scenario() -> list[int]:
        worker, gate, ran = SerialWorker("test"), threading.Event(), list[int]()
        first = await blocked(worker, gate)
        waiters = [asyncio.create_task(worker.run(partial(ran.append, i))) for i in range(4)]
        await asyncio.sleep(0)
        assert worker.waiting == 4
        waiters[1].cancel()
        gate.set()
        await asyncio.gather(first, *waiters, return_exceptions=True)
        await worker.close()
        assert worker.waiting == 0
        return ran

    assert asyncio.run(scenario()) == [0, 2, 3]


def test_an_expired_deadline_is_not_worked_on() -> None:
    async def scenario() -> None:
        worker, ran = SerialWorker("test"), list[int]()
        with pytest.raises(DeadlineExceeded):
            await worker.run(lambda: ran.append(1), Deadline.after(0.0))
        assert await worker.run(lambda: 5, Deadline.after(5.0)) == 5
        assert ran == []
        await worker.close()

    asyncio.run(scenario())


def test_leaving_a_running_call_does_not_let_the_next_one_in_early() -> None:
    async def scenario() -> None:
        worker, gate = SerialWorker("test"), threading.Event()
        running = await blocked(worker, gate)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        following = asyncio.create_task(worker.run(gate.is_set))
        await asyncio.sleep(0.01)
        assert not following.done()
        gate.set()
        assert await following is True
        await worker.close()

    asyncio.run(scenario())


def test_a_running_call_does_not_hold_up_the_close() -> None:
    async def scenario() -> None:
        worker, gate = SerialWorker("test"), threading.Event()
        running = await blocked(worker, gate)
        running.cancel()
        await worker.close()
        assert not gate.is_set()
        gate.set()

    began = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - began < HELD_S / 2


def test_an_error_reaches_its_caller_and_the_worker_goes_on() -> None:
    async def scenario() -> None:
        worker = SerialWorker("test")
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 / 0)
        assert await worker.run(lambda: 1) == 1
        await worker.close()

    asyncio.run(scenario())
