"""Deadlines, on a clock that the test moves."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.deadline import Deadline
from services.errors import DeadlineExceeded, MalformedRequest


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_runs_down() -> None:
    clock = Clock()
    deadline = Deadline.after(2.0, clock)
    clock.now += 0.5
    assert (deadline.remaining(), deadline.header(), deadline.expired) == (1.5, "1500", False)
    clock.now += 5
    assert (deadline.remaining(), deadline.header(), deadline.expired) == (0.0, "0", True)
    with pytest.raises(DeadlineExceeded):
        deadline.check()


@pytest.mark.parametrize(
    ("header", "remaining"), [(None, 30.0), ("0", 0.0), ("1500", 1.5), (" 20 ", 0.02), ("999999999", 60.0)]
)
def test_header(header: str | None, remaining: float) -> None:
    assert Deadline.from_header(header, default_s=30, max_s=60, clock=Clock()).remaining() == pytest.approx(remaining)


def test_the_default_is_capped_too() -> None:
    assert Deadline.from_header(None, default_s=90, max_s=60, clock=Clock()).remaining() == 60.0


@pytest.mark.parametrize(
    "header", ["", "-1", "1.5", "soon", "1e3", "+5", "\N{ARABIC-INDIC DIGIT TWO}", "9" * 19, "9" * 5_000]
)
def test_a_header_that_is_no_number_is_refused(header: str) -> None:
    with pytest.raises(MalformedRequest, match="Winnow-Deadline-Ms"):
        Deadline.from_header(header, default_s=30, max_s=60)


@given(st.floats(min_value=0, max_value=50))
def test_a_deadline_never_grows_on_its_way(seconds: float) -> None:
    clock = Clock()
    there = Deadline.after(seconds, clock)
    here = Deadline.from_header(there.header(), default_s=30, max_s=60, clock=clock)
    assert here.remaining() <= there.remaining() + 1e-9


async def test_limit_cancels_the_work() -> None:
    cancelled = False

    async def work() -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled = True
            raise

    with pytest.raises(DeadlineExceeded):
        async with Deadline.after(0.02).limit():
            await work()
    assert cancelled


async def test_limit_leaves_a_time_out_of_the_work_alone() -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with Deadline.after(5).limit():
            raise TimeoutError("mine")


async def test_limit_does_not_start_work_that_is_late() -> None:
    with pytest.raises(DeadlineExceeded):
        async with Deadline.after(0).limit():
            pytest.fail("the block ran")


@pytest.mark.parametrize("later_s", [0.0, 0.05])
async def test_limits_that_end_together_cancel_once_and_the_inner_block_sees_the_deadline(later_s: float) -> None:
    cancellations, seen = 0, []
    deadline = Deadline.after(0.02)

    async def work() -> None:
        nonlocal cancellations
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancellations += 1
            await asyncio.sleep(0.1)
            raise

    async def limited() -> None:
        async with replace(deadline, at=deadline.at + later_s).limit():
            try:
                async with deadline.limit(), deadline.limit():
                    await work()
            except DeadlineExceeded as error:
                seen.append(error)
                raise

    with pytest.raises(DeadlineExceeded):
        await limited()
    assert (cancellations, len(seen)) == (1, 1)


async def test_a_limit_holds_again_once_the_one_inside_it_has_ended() -> None:
    async def limited(deadline: Deadline) -> None:
        async with deadline.limit():
            async with deadline.limit():
                pass
            await asyncio.sleep(5)
            pytest.fail("nothing ended the block")

    with pytest.raises(DeadlineExceeded):
        await limited(Deadline.after(0.05))


async def test_a_limit_holds_while_a_longer_one_is_inside_it() -> None:
    with pytest.raises(DeadlineExceeded):
        async with Deadline.after(0.05).limit(), Deadline.after(5).limit():
            await asyncio.sleep(5)


async def test_a_limit_in_a_task_leaves_that_of_the_task_that_waits_for_it_alone() -> None:
    deadline = Deadline.after(0.05)

    async def inner() -> None:
        async with deadline.limit():
            await asyncio.sleep(5)

    async def outer() -> None:
        async with deadline.limit():
            tasks.append(asyncio.create_task(inner()))
            await asyncio.sleep(5)
            pytest.fail("nothing ended the block")

    tasks: list[asyncio.Task[None]] = []
    with pytest.raises(DeadlineExceeded):
        await outer()
    await asyncio.wait(tasks)
    assert isinstance(tasks[0].exception(), DeadlineExceeded)
