"""Who is let in, and how long they are worked for: until they leave, or until the service has to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar, cast

from starlette.requests import ClientDisconnect, Request

from services.errors import NotReady, Overloaded

T = TypeVar("T")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Admission:
    """A bound on the requests that a service works on; a place is taken before the first byte of a body is read.

    Nothing queues here: a caller that is told to come back costs less than a spool full of waiting videos.

    Args:
        limit: most requests at once.
        service: named in the errors, e.g. `router`.
        retry_after_s: seconds that a refused caller is told to wait.
    """

    def __init__(self, limit: int, *, service: str, retry_after_s: float) -> None:
        self._limit = limit
        self._service = service
        self._retry_after_s = retry_after_s
        self._refused: Callable[[str], None] | None = None
        self._taken = 0
        self._draining = False
        self._failed: str | None = None
        self.stopped = asyncio.Event()
        """Set when the grace time of a shutdown is over or the service has failed: what is in flight is refused."""

    @property
    def limit(self) -> int:
        """Most requests at once."""
        return self._limit

    @property
    def taken(self) -> int:
        """Requests being worked on, their uploads included."""
        return self._taken

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one place.

        Raises:
            Overloaded: every place is taken.
            NotReady: the service has failed or is shutting down.
        """
        if self._failed is not None:
            self._note("failed")
            raise NotReady(f"The {self._service} has failed ({self._failed}); ask another replica, or again later.")
        if self._draining:
            self._note("draining")
            raise NotReady(f"The {self._service} is shutting down; ask another replica, or again later.")
        if self._taken >= self._limit:
            self._note("overloaded")
            raise Overloaded(
                f"All {self._limit} places of this {self._service} are taken.", retry_after_s=self._retry_after_s
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    def watch(self, refused: Callable[[str], None]) -> None:
        """Tell `refused` of every refusal, with the reason: `overloaded`, `draining` or `failed`."""
        self._refused = refused

    def drain(self, grace_s: float) -> None:
        """Take no new work, and stop what is unfinished after `grace_s` seconds. Called on the running loop."""
        self._draining = True
        asyncio.get_running_loop().call_later(grace_s, self.stopped.set)

    def refuse(self, why: str) -> None:
        """Take no new work from now on, and stop what is in flight at once; `why` is told to callers."""
        self._failed = why
        self.stopped.set()

    def _note(self, reason: str) -> None:
        if self._refused is not None:
            self._refused(reason)


def admission_of(request: Request) -> Admission:
    """The admission of the service that serves the request; `create_service_app` was given it."""
    return cast("Admission", request.app.state.admission)


async def while_wanted(work: Coroutine[Any, Any, T], *, receive: Receive | None, stopped: asyncio.Event) -> T:
    """The result of `work`, unless the caller leaves or `stopped` is set first; then `work` is cancelled and awaited.

    Args:
        work: what is done for the caller.
        receive: of the request, once its whole body has been read: every message that it still has is taken. None where
            the work itself reads the body, and so sees the caller leave.
        stopped: see Admission.

    Raises:
        ClientDisconnect: the caller left; services.web counts that as status 499.
        NotReady: the service is shutting down and its grace time is over, or it has failed.
    """
    task = asyncio.create_task(work)
    stop = asyncio.create_task(stopped.wait())
    gone = None if receive is None else asyncio.create_task(_disconnected(receive))
    watched = {task, stop} if gone is None else {task, stop, gone}
    given = False
    try:
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            given = True
            return task.result()
        if gone is not None and gone.done():
            raise ClientDisconnect
        raise NotReady("The service is stopping and did not finish this request; send it again.")
    finally:
        for each in watched:
            each.cancel()
        await asyncio.gather(*watched, return_exceptions=True)
        if not given:
            await _put_away(task)


async def _put_away(task: asyncio.Task[Any]) -> None:
    """Leave what the work has made at the moment in which it was given up, e.g. an upload, whose file would stay."""
    if not task.cancelled() and task.exception() is None:
        made = task.result()
        if isinstance(made, AbstractAsyncContextManager):
            await made.__aexit__(None, None, None)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
