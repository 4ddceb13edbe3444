"""Asking the router about one video: retries while the deadline allows, and what each failure means."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.contracts import RouteRequest, RouteResult
from services.deadline import Deadline
from services.errors import (
    DeadlineExceeded,
    EmptyVideo,
    NoVideoStream,
    Overloaded,
    RouterUnavailable,
    TooLarge,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
    WinnowError,
)

logger = logging.getLogger(__name__)

ABOUT_THE_VIDEO = (
    UnsupportedMedia,
    NoVideoStream,
    EmptyVideo,
    TruncatedVideo,
    UndecodableVideo,
    VideoRefused,
    TooLarge,
)
"""Answers of the router that are the client's to hear. Every other failure is ours: the fail mode speaks."""

DEFAULT_WAIT_S = 0.2


class Router(Protocol):
    """What is needed of services.clients.RouterClient."""

    async def route(self, path: Path, request: RouteRequest, deadline: Deadline) -> RouteResult:
        """The router's judgement of the video at `path`."""


@dataclass(frozen=True)
class Routed:
    """What came of asking the router.

    Attributes:
        result: its answer, or None.
        missing: why there is none: `overloaded`, `unavailable` or `failed`; empty with a result.
        seconds: how long it took, retries included.
    """

    result: RouteResult | None
    missing: str
    seconds: float


@dataclass(frozen=True)
class RouterCaller:
    """Asks the router up to `attempts` times."""

    router: Router
    attempts: int

    async def ask(self, path: Path, request: RouteRequest, deadline: Deadline) -> Routed:
        """The router's answer, or why there is none.

        Raises:
            DeadlineExceeded: the deadline passed first, or the router said so.
            WinnowError: one of ABOUT_THE_VIDEO, as the router gave it.
        """
        started = time.perf_counter()
        async with deadline.limit():
            for attempt in range(1, self.attempts + 1):
                try:
                    result = await self.router.route(path, request, deadline)
                    return Routed(result, "", time.perf_counter() - started)
                except (DeadlineExceeded, *ABOUT_THE_VIDEO):
                    raise
                except WinnowError as error:
                    missing = _why_missing(error)
                    logger.warning(
                        "the router gave no answer", extra={"attempt": attempt, "why": missing, "detail": error.detail}
                    )
                    wait_s = DEFAULT_WAIT_S if error.retry_after_s is None else error.retry_after_s
                    # A wait that would eat the deadline makes a fail mode's answer into no answer.
                    if not error.retryable or wait_s * 2 > deadline.remaining():
                        break
                    if attempt < self.attempts:
                        await asyncio.sleep(wait_s)
        return Routed(None, missing, time.perf_counter() - started)


def _why_missing(error: WinnowError) -> str:
    match error:
        case Overloaded():
            return "overloaded"
        case RouterUnavailable():
            return "unavailable"
        case _:
            return "failed"
