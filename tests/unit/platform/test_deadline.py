"""Deadlines, on a clock that the test moves."""

import asyncio

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
