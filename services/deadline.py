"""The deadline of a request: a point in time here, remaining milliseconds on the wire."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Self

from services.errors import DeadlineExceeded, MalformedRequest

DEADLINE_HEADER = "Winnow-Deadline-Ms"
"""Request header: milliseconds that remain for the answer, a whole number, at least 0."""

MAX_DEADLINE_MS = 10**18 - 1
"""Largest number in the header: 30 million years; longer ones are noise."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Deadline:
    """A point on a monotonic clock after which nobody waits for the answer.

    Attributes:
        at: the point, in seconds of `clock`.
        clock: gives the time now, in seconds; it never runs backwards.
    """

    at: float
    clock: Clock = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> Self:
        """The deadline that many seconds from now."""
        return cls(at=clock() + seconds, clock=clock)

    @classmethod
    def from_header(cls, value: str | None, *, default_s: float, max_s: float, clock: Clock = time.monotonic) -> Self:
        """Read the deadline header; it starts to run now.

        Args:
            value: the header, or None where it was not sent.
            default_s: seconds allowed where the header was not sent.
            max_s: most seconds allowed, whatever the header says.

        Raises:
            MalformedRequest: the header is not a whole number of milliseconds, at least 0.
        """
        if value is None:
            return cls.after(min(default_s, max_s), clock)
        digits = value.strip()
        if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_DEADLINE_MS))):
            raise MalformedRequest(f"The header {DEADLINE_HEADER} must be a whole number of milliseconds, at least 0.")
        return cls.after(min(int(digits) / 1000.0, max_s), clock)

    def remaining(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.at - self.clock())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0.0

    def header(self) -> str:
        """The header's value: whole milliseconds left, rounded down."""
        return str(int(self.remaining() * 1000.0))

    def check(self) -> None:
        """Raise DeadlineExceeded where no time is left."""
        if self.expired:
            raise DeadlineExceeded("The deadline has passed.")

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Cancel the block when the deadline passes, and raise DeadlineExceeded instead.

        A TimeoutError that the block raises by itself is left alone. Limits may stand inside one another: one that ends
        no later than the limit around it, in the same task, stands in for that one. Two that end together would cancel
        the task twice, the second time in the midst of what it does about the first, and the inner block would see no
        DeadlineExceeded.
        """
        self.check()
        around = _limit.get()
        timeout = asyncio.timeout(self.remaining())
        try:
            async with timeout:
                limit = _Limit(self, timeout, asyncio.current_task())
                with limit.current(), limit.standing_in_for(around):
                    yield
        except TimeoutError as error:
            if timeout.expired():
                raise DeadlineExceeded("The deadline has passed.") from error
            raise


@dataclass(frozen=True)
class _Limit:
    """A limit that runs, and the task that it cancels."""

    deadline: Deadline
    timeout: asyncio.Timeout
    task: "asyncio.Task[Any] | None"

    @contextmanager
    def current(self) -> Iterator[None]:
        """Be the limit around those that begin in the block."""
        token = _limit.set(self)
        try:
            yield
        finally:
            _limit.reset(token)

    @contextmanager
    def standing_in_for(self, around: "_Limit | None") -> Iterator[None]:
        """Suspend the limit around this one for the block where this one ends no later."""
        when = around.timeout.when() if around is not None and self._covers(around) else None
        if around is None or when is None:
            yield
            return
        around.timeout.reschedule(None)
        try:
            yield
        finally:
            around.timeout.reschedule(when)

    def _covers(self, around: "_Limit") -> bool:
        here, there = self.deadline, around.deadline
        # A task begins with the context of the one that made it, whose limits do not cancel it.
        mine = around.task is self.task and not around.timeout.expired()
        return mine and here.clock is there.clock and here.at <= there.at


_limit: ContextVar[_Limit | None] = ContextVar("winnow_limit", default=None)
