"""The pool of decoder processes: bounded, timed, and at its full number again after any of them died."""

import asyncio
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

from router_svc.decode_processes import Died, NeverBegan, Worker, WorkerFactory, signal_name
from router_svc.decode_wire import BrokenReply, DecodeJob, Failure
from router_svc.decode_worker import DecodeTask, decode_task
from router_svc.metrics import DeathCause, RouterMetrics
from router_svc.sandbox import WorkerLimits
from services.deadline import Deadline
from services.errors import (
    Internal,
    InvalidPayload,
    NotReady,
    NoVideoStream,
    Overloaded,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
    WinnowError,
)
from services.media.decode import DecodedVideo

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FAILURES: dict[str, type[WinnowError]] = {
    error.code: error
    for error in (UnsupportedMedia, NoVideoStream, TruncatedVideo, UndecodableVideo, VideoRefused, InvalidPayload)
}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class DecodePool:
    """Decodes videos in worker processes that a hostile file may kill.

    A process has one video at a time and a socket of its own, so that its death is the matter of that video alone: it
    is not tried again, and no other is lost. A process that died, took too long or was left by its caller is killed,
    reaped and replaced.

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
        task: DecodeTask = decode_task,
    ) -> None:
        self._workers = workers
        self._waiting_limit = waiting
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._tasks_per_worker = tasks_per_worker
        self._retry_after_s = retry_after_s
        self._factory = WorkerFactory(task, limits)
        # Each place of the pool is here, with one that runs a job or with one that replaces a worker. An empty one
        # (None) is what is left of a worker when the pool closes.
        self._idle: asyncio.Queue[Worker | None] = asyncio.Queue()
        self._places = 0
        self._waiting = 0
        self._replacing: set[asyncio.Task[None]] = set()
        # A thread for each worker that decodes, one for each that is replaced.
        self._threads = ThreadPoolExecutor(max_workers=2 * workers, thread_name_prefix="decoder")
        self._running = False

    @property
    def idle(self) -> int:
        """Processes that wait for a video."""
        return self._idle.qsize()

    async def start(self) -> None:
        """Starts the processes and waits until they can decode.

        Raises:
            StartFailed: they cannot be started; NotConfined where the settings require what the kernel does not give.
        """
        for _ in range(self._workers):
            worker = await self._call(self._factory.spawn)
            self._idle.put_nowait(worker)
            self._places += 1
        self._running = True
        if worker.unconfined is not None:
            logger.warning(
                "decoders are not confined: a file that takes one over has the rights of the service",
                extra={"reason": worker.unconfined},
            )

    async def close(self) -> None:
        """Stops the processes; what they were doing is lost, and callers that wait for one are refused."""
        self._running = False
        await asyncio.to_thread(self._factory.stop)
        for _ in range(self._places):
            worker = await self._idle.get()
            if worker is not None:
                await asyncio.to_thread(self._factory.end, worker)
        self._idle.put_nowait(None)  # goes from one waiting caller to the next
        await asyncio.to_thread(self._threads.shutdown, wait=True)

    async def decode(self, job: DecodeJob, deadline: Deadline) -> DecodedVideo:
        """Decodes a video.

        Raises:
            Overloaded: too many callers wait.
            NotReady: there are no decoders now.
            DeadlineExceeded: the deadline passed first; the process is killed.
            UndecodableVideo: the process died.
            VideoRefused: the video took too long, or what the decoder says.
            WinnowError: what the decoder says.
        """
        try:
            async with deadline.limit():
                for _ in range(self._workers + 1):
                    worker = await self._acquire()
                    try:
                        return await self._run(worker, job)
                    except NeverBegan:
                        logger.warning("an idle decoder had died")
                raise NotReady("The decoders are being started again.", retry_after_s=self._retry_after_s)
        except WinnowError as error:
            self._metrics.decode_failures.labels(error.code).inc()
            raise

    async def _acquire(self) -> Worker:
        if not self._running:
            raise NotReady("The decoders are not running.")
        if self._idle.empty() and self._waiting >= self._waiting_limit:
            raise Overloaded("Too many videos wait to be decoded.", retry_after_s=self._retry_after_s)
        self._waiting += 1
        self._metrics.queued("decode", depth=self._waiting)
        start = perf_counter()
        try:
            worker = await self._idle.get()
        finally:
            self._waiting -= 1
            self._metrics.queued("decode", depth=self._waiting)
            self._metrics.waited("decode", perf_counter() - start)
        if worker is None or not self._running:
            self._idle.put_nowait(worker)
            raise NotReady("The decoders are stopped.")
        return worker

    async def _run(self, worker: Worker, job: DecodeJob) -> DecodedVideo:
        cause: DeathCause | None = "abandoned"
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._call(lambda: worker.ask(job))
            cause = None
        except TimeoutError as error:
            cause = "timeout"
            raise VideoRefused(f"The video was not decoded within {self._timeout_s:g} s.") from error
        except NeverBegan:
            cause = "pool"
            raise
        except Died as error:
            await self._call(lambda: self._factory.end(worker))
            # One that sent what it should not was alive until now.
            cause = "crash" if isinstance(error.__cause__, BrokenReply) else _cause(worker.status)
            logger.warning("a decoder died", extra={"status": signal_name(worker.status), "reason": str(error)})
            raise _death(cause, job.cpu_s) from error
        except OSError as error:
            cause = None  # nothing was sent
            logger.exception("the video's file could not be read")
            raise Internal("The video could not be read.") from error
        finally:
            self._give_back(worker, cause)
        if isinstance(answer, Failure):
            if answer.cause is not None:
                logger.warning("a decoder raised what it should not", extra={"reason": answer.cause})
            raise _FAILURES.get(answer.code, UndecodableVideo)(answer.detail)
        return answer

    def _give_back(self, worker: Worker, cause: DeathCause | None) -> None:
        if cause is not None:
            self._metrics.decoder_died(cause)
        elif not self._tasks_per_worker or worker.jobs < self._tasks_per_worker:
            self._idle.put_nowait(worker)
            return
        worker.hang_up()  # frees the thread that still listens to it
        task = asyncio.create_task(self._replace(worker))
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _replace(self, worker: Worker) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._call(lambda: self._factory.end(worker))
                fresh = await self._call(self._factory.spawn) if self._running else None
            except Exception as error:  # whatever it is, the place must not be lost
                if self._running:
                    logger.error("a decoder cannot be replaced", extra={"reason": repr(error)})
            else:
                self._idle.put_nowait(fresh)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def _cause(status: int | None) -> DeathCause:
    """What an exit status says; nobody but the kernel, out of memory, sends SIGKILL to a decoder that works."""
    if status is None:
        return "pool"
    return {-signal.SIGPROF: "cpu", -signal.SIGKILL: "memory"}.get(status, "crash")  # type: ignore[return-value]


def _death(cause: DeathCause, cpu_s: float) -> WinnowError:
    if cause == "pool":
        return NotReady("The decoders are being started again.")
    if cause == "cpu":
        return VideoRefused(f"The video was not decoded within {cpu_s:g} s of CPU time.")
    return UndecodableVideo("The decoder failed on this video.")
