"""Embeds the frames of many requests together: one queue, one thread, whole batches."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import numpy.typing as npt

from router_svc.metrics import RouterMetrics
from services.deadline import Deadline
from services.encoder import Encoder
from services.errors import DeadlineExceeded, Internal, NotReady, Overloaded
from services.telemetry.spans import past_stages

logger = logging.getLogger(__name__)

Frames = Sequence[npt.NDArray[np.uint8]]
Vectors = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class _Job:
    frames: Frames
    deadline: Deadline
    future: asyncio.Future[Vectors]
    arrived_s: float = field(default_factory=perf_counter)
    taken_s: float = 0.0


class EmbedBatcher:
    """Takes frames from any number of callers and runs them through the encoder in batches, in order of arrival.

    Args:
        encoder: runs in a thread that the batcher owns.
        max_frames: most frames of one batch; a caller with more gets batches of its own.
        max_waiting: callers that may wait; more are refused.
        retry_after_s: seconds that a refused caller is told to wait.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_frames: int,
        max_waiting: int,
        metrics: RouterMetrics,
        retry_after_s: float = 1.0,
    ) -> None:
        self._encoder = encoder
        self._max_frames = max_frames
        self._max_waiting = max_waiting
        self._metrics = metrics
        self._retry_after_s = retry_after_s
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts to take batches."""
        self._loop = asyncio.create_task(self._run(), name="embed-batcher")

    async def close(self) -> None:
        """Refuses what still waits; a pass through the encoder that is running is waited for."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
        while self._jobs:
            _fail(self._jobs.popleft(), NotReady("The router is shutting down."))
        await asyncio.to_thread(self._executor.shutdown, wait=True)

    async def embed(self, frames: Frames, deadline: Deadline) -> Vectors:
        """[n, dim] float32 vectors of n frames.

        Raises:
            Overloaded: too many callers wait.
            DeadlineExceeded: the deadline passed first.
            NotReady: the batcher is closed.
            Internal: the encoder failed.
        """
        if self._loop is None:
            raise NotReady("The encoder is not running.")
        if len(self._jobs) >= self._max_waiting:
            raise Overloaded("Too many videos wait for the encoder.", retry_after_s=self._retry_after_s)
        job = _Job(frames, deadline, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._metrics.queued("embed", depth=len(self._jobs))
        self._arrived.set()
        try:
            async with deadline.limit():
                vectors = await job.future
        finally:
            self._leave(job)
        # The pass through the encoder is shared with other requests: each has a span of it.
        past_stages({"queue": job.taken_s - job.arrived_s, "encode": perf_counter() - job.taken_s})
        return vectors

    async def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """[n, dim] float32 vectors of n sentences, beside the passes for frames.

        Raises:
            TextUnsupported: the encoder has no text side.
            NotReady: the batcher is closed.
        """
        if self._loop is None:
            raise NotReady("The encoder is not running.")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._encoder.embed_texts, texts)

    def _leave(self, job: _Job) -> None:
        """Frees the place of a caller that leaves while it waits."""
        if job in self._jobs:  # else it was taken; `remove` would put the text of all its pixels into an error
            self._jobs.remove(job)
            self._metrics.queued("embed", depth=len(self._jobs))

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._take():
                try:
                    await self._embed(batch)
                finally:
                    for job in batch:
                        _fail(job, NotReady("The router is shutting down."))

    def _take(self) -> list[_Job]:
        """The next callers whose frames fit into one batch; at least one, where anybody still waits."""
        batch: list[_Job] = []
        count = 0
        while self._jobs and (not batch or count + len(self._jobs[0].frames) <= self._max_frames):
            job = self._jobs.popleft()
            job.taken_s = perf_counter()
            self._metrics.waited("embed", job.taken_s - job.arrived_s)
            if job.deadline.expired:
                _fail(job, DeadlineExceeded("The deadline passed while the video waited for the encoder."))
            elif not job.future.done():
                batch.append(job)
                count += len(job.frames)
        self._metrics.queued("embed", depth=len(self._jobs))
        return batch

    async def _embed(self, batch: Sequence[_Job]) -> None:
        """Settles every job of the batch; where a shared pass fails, each gets one of its own."""
        frames = [frame for job in batch for frame in job.frames]
        try:
            vectors = await asyncio.get_running_loop().run_in_executor(self._executor, self._encode, frames)
        except Exception as error:
            if len(batch) > 1:
                for job in batch:
                    if not job.future.done():
                        await self._embed([job])
                return
            logger.exception("the encoder failed")
            failure = Internal("The encoder failed on this video.")
            failure.__cause__ = error
            _fail(batch[0], failure)
            return
        start = 0
        for job in batch:
            if not job.future.done():
                job.future.set_result(vectors[start : start + len(job.frames)])
            start += len(job.frames)

    def _encode(self, frames: Frames) -> Vectors:
        parts = [frames[start : start + self._max_frames] for start in range(0, len(frames), self._max_frames)]
        for part in parts:
            self._metrics.batch_frames.observe(len(part))
        vectors = np.concatenate([self._encoder.embed_images(part) for part in parts])
        if vectors.shape != (len(frames), self._encoder.dim):
            raise ValueError(f"the encoder answered {vectors.shape} for {len(frames)} frames")
        return vectors


def _fail(job: _Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)
