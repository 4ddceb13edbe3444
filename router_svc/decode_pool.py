"""The pool of decoder processes: bounded, timed, and alive after any of them died."""

import asyncio
import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired, ProcessPool

from router_svc.decode_worker import DecodeJob, WorkerLimits, decode_task, start_worker, warm
from router_svc.metrics import RouterMetrics
from services.deadline import Deadline
from services.errors import Internal, NotReady, Overloaded, UndecodableVideo, VideoRefused, WinnowError
from services.media.decode import DecodedVideo

logger = logging.getLogger(__name__)

_WARM_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0


class DecodePool:
    """Decodes videos in worker processes that a hostile file may kill.

    No more tasks are handed to the processes than there are processes, so that a caller that leaves while it waits
    costs nothing, and one that leaves while its video is decoded costs that worker's restart alone.

    Args:
        workers: number of processes.
        waiting: callers that may wait for one.
        timeout_s: wall seconds for one video; then its process is killed.
        limits: of each process.
        tasks_per_worker: videos until a process is replaced; 0: never.
        retry_after_s: seconds that a refused caller is told to wait.
        task: what a process does with a job; a module-level function.
    """

    def __init__(
        self,
        *,
        workers: int,
        waiting: int,
        timeout_s: float,
        limits: WorkerLimits,
        metrics: RouterMetrics,
        tasks_per_worker: int = 0,
        retry_after_s: float = 1.0,
        task: Callable[[DecodeJob], DecodedVideo] = decode_task,
    ) -> None:
        self._workers = workers
        self._waiting_limit = waiting
        self._timeout_s = timeout_s
        self._limits = limits
        self._metrics = metrics
        self._tasks_per_worker = tasks_per_worker
        self._retry_after_s = retry_after_s
        self._task = task
        self._slots = asyncio.Semaphore(workers)
        self._waiting = 0
        self._pool: ProcessPool | None = None
        self._mending: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Starts the processes and waits until they can decode."""
        self._pool = await asyncio.to_thread(self._make)

    async def close(self) -> None:
        """Stops the processes; what they were doing is lost."""
        self._closed = True
        if self._mending is not None:
            await asyncio.wait({self._mending})
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(_stop, pool)

    async def decode(self, job: DecodeJob, deadline: Deadline) -> DecodedVideo:
        """Decodes a video.

        Raises:
            Overloaded: too many callers wait.
            DeadlineExceeded: the deadline passed first; the process is killed.
            UndecodableVideo: the process died.
            VideoRefused: the video took too long, or what the decoder says.
            WinnowError: what the decoder says.
        """
        try:
            async with deadline.limit():
                await self._acquire()
                try:
                    return await self._run(job)
                finally:
                    self._slots.release()
        except WinnowError as error:
            self._metrics.decode_failures.labels(error.code).inc()
            raise

    async def _acquire(self) -> None:
        if self._slots.locked() and self._waiting >= self._waiting_limit:
            raise Overloaded("Too many videos wait to be decoded.", retry_after_s=self._retry_after_s)
        self._waiting += 1
        self._metrics.queue_depth.labels("decode").set(self._waiting)
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
            self._metrics.queue_depth.labels("decode").set(self._waiting)

    async def _run(self, job: DecodeJob) -> DecodedVideo:
        for _ in range(2):
            try:
                pool = await self._alive()
                return await asyncio.wrap_future(pool.schedule(self._task, (job,), timeout=self._timeout_s))
            except WinnowError:
                raise
            except TimeoutError as error:
                raise VideoRefused(f"The video was not decoded within {self._timeout_s:g} s.") from error
            except ProcessExpired as error:
                logger.warning("a decoder died", extra={"exitcode": error.exitcode})
                raise UndecodableVideo("The decoder failed on this video.") from error
            except BrokenProcessPool as error:
                # A process that dies between two videos, or at once, takes its siblings' tasks with it: they run again.
                logger.warning("the pool of decoders broke", extra={"reason": str(error)})
            except OSError as error:
                logger.exception("the video's file could not be read")
                raise Internal("The video could not be read.") from error
            except Exception as error:
                logger.exception("a decoder raised what it should not")
                raise UndecodableVideo("The decoder failed on this video.") from error
        raise UndecodableVideo("The decoder failed on this video twice.")

    async def _alive(self) -> ProcessPool:
        if self._pool is not None and not self._pool.active:
            if self._mending is None or self._mending.done():
                self._mending = asyncio.create_task(self._mend(self._pool))
            # A caller that leaves does not end the mending: the next one waits for the same.
            await asyncio.shield(self._mending)
        if self._pool is None:
            raise NotReady("The router is shutting down.")
        return self._pool

    async def _mend(self, broken: ProcessPool) -> None:
        await asyncio.to_thread(_stop, broken)
        fresh = await asyncio.to_thread(self._make)
        if self._closed:
            await asyncio.to_thread(_stop, fresh)
        else:
            self._pool = fresh

    def _make(self) -> ProcessPool:
        # The fork server has imported the decoder and nothing else: a killed process is replaced in milliseconds.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["router_svc.decode_worker"])
        pool = ProcessPool(
            max_workers=self._workers,
            max_tasks=self._tasks_per_worker,
            initializer=start_worker,
            initargs=(self._limits,),
            context=context,
        )
        try:
            for future in [pool.schedule(warm) for _ in range(self._workers)]:
                future.result(timeout=_WARM_TIMEOUT_S)
        except BaseException:
            _stop(pool)
            raise
        return pool


def _stop(pool: Any) -> None:  # pebble's `stop` is untyped
    pool.stop()
    pool.join(timeout=_STOP_TIMEOUT_S)
