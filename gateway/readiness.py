"""Whether the gateway can take a video now: asks its dependencies, and remembers the answer for a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from services.database import StoreUnavailable
from services.deadline import Clock
from services.errors import WinnowError

Check = Callable[[], Awaitable[None]]
"""Returns where the dependency is there; raises WinnowError or StoreUnavailable where it is not."""


class Readiness:
    """Asks all checks side by side; a burst of probes costs each dependency one question every `ttl_s` seconds.

    Ready means that a video sent now would be judged by the whole cascade and recorded. A gateway that is asked all the
    same while the router is missing answers by the policy's fail mode; without its database it refuses.
    """

    def __init__(
        self, checks: Mapping[str, Check], *, timeout_s: float, ttl_s: float, clock: Clock = time.monotonic
    ) -> None:
        self._checks = checks
        self._timeout_s = timeout_s
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_at: float | None = None
        self._missing: dict[str, str] = {}

    async def missing(self) -> dict[str, str]:
        """Name of every dependency that is missing, and why."""
        async with self._lock:
            if self._asked_at is None or self._clock() - self._asked_at >= self._ttl_s:
                answers = await asyncio.gather(*(self._ask(check) for check in self._checks.values()))
                named = zip(self._checks, answers, strict=True)
                self._missing = {name: why for name, why in named if why is not None}
                self._asked_at = self._clock()
            return self._missing

    async def _ask(self, check: Check) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await check()
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except WinnowError as error:
            return error.detail
        except StoreUnavailable as error:
            return str(error)
        return None
