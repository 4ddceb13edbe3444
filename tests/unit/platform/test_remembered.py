"""Remembered values: how often is asked, how old a value gets, what becomes of failures and callers that leave."""

import asyncio

from services.remembered import Remembered


class Source:
    """Counts its questions; the test says what it answers, and when."""

    def __init__(self, ttl_s: float = 1.0) -> None:
        self.now = 0.0
        self.value: int | None = 1
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self.remembered = Remembered(self.ask, ttl_s=ttl_s, name="the value", clock=lambda: self.now)

    async def ask(self) -> int | None:
        self.asked += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return self.value

    async def current(self) -> int | None:
        return await self.remembered.current()


async def test_callers_at_one_time_share_a_question() -> None:
    source = Source()
    assert await asyncio.gather(*(source.current() for _ in range(20))) == [1] * 20
    assert source.asked == 1


async def test_a_fresh_value_costs_no_question() -> None:
    source = Source()
    await source.current()
    source.now = 0.4
    assert (await source.current(), source.asked) == (1, 1)


async def test_an_ageing_value_is_renewed_beside_the_callers() -> None:
    source = Source()
    await source.current()
    source.now, source.value = 0.6, 2
    source.open.clear()
    assert await source.current() == 1
    await asyncio.sleep(0)
    assert source.asked == 2
    source.open.set()
    await asyncio.sleep(0.01)
    assert (await source.current(), source.asked) == (2, 2)


async def test_a_value_that_is_too_old_is_waited_for() -> None:
    source = Source()
    await source.current()
    source.now, source.value = 1.0, 2
    assert await source.current() == 2


async def test_a_failure_is_remembered_and_then_forgotten() -> None:
    source = Source()
    source.error = RuntimeError("down")
    assert await source.current() is None
    source.error = None
    assert (await source.current(), source.asked) == (None, 1)
    source.now = 1.0
    assert await source.current() == 1


async def test_a_caller_that_leaves_takes_the_question_from_nobody() -> None:
    source = Source()
    source.open.clear()
    first = asyncio.create_task(source.current())
    second = asyncio.create_task(source.current())
    await asyncio.sleep(0.01)
    first.cancel()
    source.open.set()
    assert (await second, source.asked) == (1, 1)


async def test_closing_gives_up_the_question() -> None:
    source = Source()
    source.open.clear()
    waiting = asyncio.create_task(source.current())
    await asyncio.sleep(0.01)
    await source.remembered.close()
    assert await waiting is None
    assert (await source.current(), source.asked) == (None, 1)
