"""One thread that does an engine's work in order of arrival, and skips what nobody waits for any more."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from services.deadline import Deadline

T = TypeVar("T")


class SerialWorker:
    """Runs blocking calls one at a time, off the event loop.

    Callers wait in the event loop, not in the thread's queue: one that is cancelled leaves nothing behind. The next
    call begins only when the thread is free, also where the caller of the running one has left. How many may wait is
    bounded by services.web.Admission.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._free = asyncio.Lock()
        self.waiting = 0

    async def run(self, work: Callable[[], T], deadline: Deadline | None = None) -> T:
        """The result of `work`, run in the thread.

        Raises:
            DeadlineExceeded: the deadline passed before the thread was free.
        """
        await self._turn()
        try:
            if deadline is not None:
                deadline.check()
            future = self._executor.submit(work)
        except BaseException:
            self._free.release()
            raise
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda done: self._settled(loop, done))
        return await asyncio.wrap_future(future)

    async def _turn(self) -> None:
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1

    def _settled(self, loop: asyncio.AbstractEventLoop, _: "Future[Any]") -> None:
        # Nobody can be waiting for the lock of a loop that is closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._free.release)

    async def close(self) -> None:
        """Drop the thread. A call that runs (the load of a model, minutes of a slow CPU) cannot be stopped, and is not
        waited for: nobody wants its result any more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
