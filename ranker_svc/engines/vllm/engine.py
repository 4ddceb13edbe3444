"""The vllm engine: AsyncLLM in this process, one request to it for each prompt."""

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ranker_svc.engines.protocol import EngineResult, EngineStartError, FrameImage
from ranker_svc.engines.vllm.loading import Loaded, load, shut_down
from ranker_svc.engines.vllm.metrics import SchedulerWatch, VllmCollector
from ranker_svc.engines.vllm.requests import DEAD, Answered, FramesLost, ask, blank_frame, prepare, rendered
from ranker_svc.engines.vllm.starting import run_start
from ranker_svc.settings import Settings
from services.contracts import ModelIdentity
from services.deadline import Deadline
from services.errors import Internal, NotReady, WinnowError

logger = logging.getLogger(__name__)

WATCH_S = 0.25
"""Seconds between two looks at the engine: vLLM sets a flag when its process dies, and tells nobody while idle."""
WARM_UP_S = 120.0
ATTEMPTS = 3
"""Times that a prompt is sent whose frames the engine process has lost."""


class VllmEngine:
    """Every prompt is a request of its own to vLLM, whose caches see to it that frames are seen once.

    Args:
        settings: see ranker_svc.settings.
        watch: is told of every step of vLLM's scheduler.
    """

    def __init__(self, settings: Settings, *, watch: SchedulerWatch | None = None) -> None:
        self._settings = settings
        self._watch = watch or SchedulerWatch()
        self._collector = VllmCollector()
        # One thread: a tokenizer must not be called from several.
        self._preparer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prompt-preparer")
        self._loaded: Loaded | None = None
        self._preparing = 0
        self._sent = 0

    @property
    def identity(self) -> ModelIdentity:
        """The checkpoint's name and the hash of its files."""
        return self._ready().identity

    @property
    def waiting(self) -> int:
        """Prompts, not requests: those that are prepared, or wait in vLLM's scheduler as of its last step."""
        return self._preparing + min(self._watch.waiting, self._sent)

    @property
    def collector(self) -> VllmCollector:
        """vLLM's own metrics."""
        return self._collector

    async def start(self) -> None:
        """Load vLLM and the checkpoint, and find its tokens for Yes and No.

        Raises:
            EngineStartError: the settings, the model or the machine do not allow it.
        """
        work = partial(load, self._settings, self._watch.factory)
        self._loaded = await run_start(work, shut_down)
        await self._warm_up()
        identity, tokens = self._loaded.identity, self._loaded.tokens
        extra = {"model": identity.name, "fingerprint": identity.fingerprint, "yes": tokens.yes, "no": tokens.no}
        logger.info("engine started", extra=extra)

    async def answer(self, frames: Sequence[FrameImage], prompts: Sequence[str], deadline: Deadline) -> EngineResult:
        """See `Engine.answer`."""
        loaded = self._ready()
        if loaded.llm.errored:
            raise NotReady(f"The engine is dead: {DEAD}.")
        deadline.check()
        asked = time.perf_counter()
        name = uuid.uuid4().hex
        asking: list[asyncio.Task[Answered]] = []
        self._preparing += len(prompts)
        try:
            loop = asyncio.get_running_loop()
            raws = await loop.run_in_executor(self._preparer, prepare, loaded.prompting, frames, prompts)
            for index, raw in enumerate(raws):
                # In order: the first one brings the frames, the others name them.
                ready = await rendered(loaded, raw)
                deadline.check()
                asking.append(asyncio.create_task(self._ask(loaded, raw, ready, f"{name}-{index}")))
                self._preparing -= 1
            prepared = time.perf_counter()
            answered = await asyncio.gather(*asking)
        except BaseException:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            raise
        finally:
            self._preparing -= len(prompts) - len(asking)
        queue = answered[0].queue_s
        infer = max(0.0, time.perf_counter() - prepared - queue)
        stages = {"preprocess": prepared - asked, "queue": queue, "infer": infer}
        return EngineResult(tuple(each.answer for each in answered), stages)

    async def health(self) -> str | None:
        """Whether the model is loaded and its process lives."""
        if self._loaded is None:
            return "the model is not loaded"
        return DEAD if self._loaded.llm.errored else None

    async def died(self) -> str:
        """See `Engine.died`."""
        while self._loaded is None or not self._loaded.llm.errored:  # noqa: ASYNC110 (vLLM has a flag, and no event)
            await asyncio.sleep(WATCH_S)
        return DEAD

    async def close(self) -> None:
        """End vLLM's processes."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            if (handler := loaded.llm.output_handler) is not None:
                # It would log the end of the engine as a fault.
                handler.cancel()
                await asyncio.gather(handler, return_exceptions=True)
            await asyncio.to_thread(shut_down, loaded)
        await asyncio.to_thread(self._preparer.shutdown, cancel_futures=True)

    async def _warm_up(self) -> None:
        """One answer, so that the first caller does not wait for what happens once, and a model that fails is found."""
        try:
            await self.answer([blank_frame()], ["Answer Yes or No."], Deadline.after(WARM_UP_S))
        except (WinnowError, FloatingPointError) as error:
            raise EngineStartError(f"{self._settings.model} is loaded and cannot answer: {error}") from error

    async def _ask(self, loaded: Loaded, raw: Mapping[str, Any], ready: Any, request: str) -> Answered:
        self._sent += 1
        try:
            for attempt in range(ATTEMPTS):
                try:
                    return await ask(loaded, ready, f"{request}-{attempt}")
                except FramesLost:
                    ready = await rendered(loaded, raw)
            raise Internal("The engine lost the frames.")
        finally:
            self._sent -= 1

    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise RuntimeError("the engine has not been started")
        return self._loaded
