"""A helper process that decodes and embeds in a bare loop: what the router does, without the service around it.

The same decoder processes (number, start, limits, `decode_task`), the same jobs, the same encoder in one thread that
takes all videos which wait, up to the router's batch size. No HTTP, spool, hash, search, scoring or deadlines.
"""

import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from router_svc.decode_processes import Worker, WorkerFactory
from router_svc.decode_wire import DecodeJob
from router_svc.decode_worker import decode_task
from router_svc.sandbox import WorkerLimits
from services.media.decode import DecodedVideo
from tests.bench.helper import Command, serve


class BareLoop:
    """Decoder processes and an encoder."""

    def __init__(self) -> None:
        from router_svc.assets import load_encoder_of
        from router_svc.settings import Settings

        self.settings = Settings()
        self.encoder = load_encoder_of(self.settings.encoder, self.settings.encoder_device)
        settings = self.settings
        limits = WorkerLimits(settings.decode_memory_bytes, settings.decode_nice, settings.decode_confinement)
        self.factory = WorkerFactory(decode_task, limits)
        self.workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for _ in range(settings.decode_workers):
            self.workers.put(self.factory.spawn())
        self.decoders = ThreadPoolExecutor(settings.decode_workers)

    def run(self, command: Command) -> dict[str, Any]:
        """Decodes and embeds the `paths` in turn for `seconds`, as many videos in flight as the router is sent."""
        jobs = [self._job(Path(path)) for path in command["paths"]]
        decoded: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()
        places = threading.Semaphore(command["in_flight"])
        batches: list[int] = []
        times: dict[int, list[float]] = {}
        embedder = threading.Thread(target=self._embed, args=(decoded, places, batches))
        embedder.start()
        started = time.perf_counter()
        handed = 0
        while time.perf_counter() - started < command["seconds"]:
            places.acquire()
            future = self.decoders.submit(self._decode, jobs[handed % len(jobs)])
            if handed < len(jobs):
                times[handed] = []
                future.add_done_callback(lambda done, index=handed: times[index].extend(done.result().times_s))
            future.add_done_callback(decoded.put)
            handed += 1
        for _ in range(command["in_flight"]):
            places.acquire()
        decoded.put(None)
        embedder.join()
        return {
            "elapsed": time.perf_counter() - started,
            "videos": handed,
            "embedded": sum(batches),
            "batch": sum(batches) / len(batches),
            "times_s": times,
        }

    def _decode(self, job: DecodeJob) -> DecodedVideo:
        worker = self.workers.get()
        try:
            answer = worker.ask(job)
        finally:
            self.workers.put(worker)
        if not isinstance(answer, DecodedVideo):
            raise RuntimeError(answer.detail)
        return answer

    def _embed(
        self, decoded: "queue.SimpleQueue[Future[Any] | None]", places: threading.Semaphore, batches: list[int]
    ) -> None:
        """One thread: the frames of every video that waits, as far as they fit, in one pass."""
        ready: Future[Any] | None = decoded.get()
        while ready is not None:
            frames = list(ready.result().frames)
            videos = 1
            try:
                while (ready := decoded.get_nowait()) is not None:
                    more = ready.result().frames
                    if len(frames) + len(more) > self.settings.embed_batch_frames:
                        break
                    frames += more
                    videos += 1
                else:
                    decoded.put(None)
            except queue.Empty:
                ready = None
            vectors = self.encoder.embed_images(frames)
            if vectors.shape != (len(frames), self.encoder.dim):
                raise RuntimeError("the encoder did not embed every frame")
            batches.append(len(frames))
            for _ in range(videos):
                places.release()
            if ready is None:
                ready = decoded.get()

    def _job(self, path: Path) -> DecodeJob:
        settings = self.settings
        side = max(settings.frame_short_side, self.encoder.input_size)
        return DecodeJob(path, settings.sampling, side, settings.limits, settings.decode_cpu_s)


if __name__ == "__main__":
    serve(BareLoop().run)
