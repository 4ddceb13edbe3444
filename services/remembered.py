"""A value that lives elsewhere: asked for by one caller on behalf of all, and remembered for a moment."""

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from services.deadline import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Remembered(Generic[T]):
    """Asks at most twice in `ttl_s` seconds, one question at a time, and gives no value older than that.

    From half of its time on, the value is renewed beside the callers, who wait only for one that is too old. A failure
    is remembered like a value, as None, so that something that does not answer does not hold up every caller.

    Args:
        ask: gives the value, or None where it cannot be had; bounds its own time.
        ttl_s: seconds from the question on for which an answer holds.
        name: of the value, in logs.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T | None]], *, ttl_s: float, name: str, clock: Clock = time.monotonic
    ) -> None:
        self._ask = ask
        self._ttl_s = ttl_s
        self._name = name
        self._clock = clock
        self._value: T | None = None
        self._asked_at: float | None = None
        self._question: asyncio.Task[None] | None = None
        self._closed = False

    async def current(self) -> T | None:
        """The value, None where it could not be had, or after `close`."""
        if self._older_than(self._ttl_s / 2) and not self._closed and (self._question is None or self._question.done()):
            # It serves all callers: it carries nobody's trace, and goes on when the one that began it is cancelled.
            self._question = asyncio.create_task(self._renew(), context=contextvars.Context())
        if self._older_than(self._ttl_s) and self._question is not None:
            await asyncio.wait([self._question])
        return None if self._closed else self._value

    async def close(self) -> None:
        """Give up the question that may be under way."""
        self._closed = True
        if self._question is not None:
            self._question.cancel()
            await asyncio.gather(self._question, return_exceptions=True)

    def _older_than(self, seconds: float) -> bool:
        return self._asked_at is None or self._clock() - self._asked_at >= seconds

    async def _renew(self) -> None:
        asked_at = self._clock()
        try:
            value = await self._ask()
        except Exception:
            logger.exception("%s cannot be asked for", self._name)
            value = None
        self._value = value
        # A failure holds from now: it may have taken longer than a value would live.
        self._asked_at = asked_at if value is not None else self._clock()
