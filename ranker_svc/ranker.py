"""The ranker's one use case: a RankRequest becomes a RankResult."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

from ranker_svc.answers import judge
from ranker_svc.engines.protocol import Engine
from ranker_svc.frames import decode_frames
from ranker_svc.identity import configuration_of, identity_of
from ranker_svc.metrics import RankerMetrics
from ranker_svc.settings import Settings
from services.calibration import Calibrator, FittedFor
from services.contracts import ModelIdentity, RankRequest, RankResult, Timings
from services.deadline import Deadline
from services.prompts import context_block, plan
from services.telemetry.spans import past_stages, span


@dataclass(frozen=True)
class Ranker:
    """Everything that an answer needs; the lifespan owns the parts."""

    settings: Settings
    engine: Engine
    calibrators: Mapping[str, Calibrator]
    decoder: ThreadPoolExecutor
    metrics: RankerMetrics

    @property
    def identity(self) -> ModelIdentity:
        """Which model answers, under which configuration; known once the engine has started."""
        return identity_of(self.engine.identity, self._configuration)

    @cached_property
    def _configuration(self) -> str:
        return configuration_of(self.settings, self.calibrators)

    async def rank(self, request: RankRequest, deadline: Deadline) -> RankResult:
        """Ask every distinct question about the frames, and judge each issue.

        Raises:
            InvalidPayload: a frame cannot be used, or there are too many.
            DeadlineExceeded: the deadline passed; work that had not begun is not done.
        """
        async with deadline.limit():
            started = time.perf_counter()
            decode = partial(
                decode_frames,
                request.frames,
                max_frames=self.settings.max_frames,
                max_pixels=self.settings.max_image_pixels,
            )
            with span("decode"):
                frames = await asyncio.get_running_loop().run_in_executor(self.decoder, decode)
            decoded_s = time.perf_counter() - started
            asked = plan(request.issues, context_block(request.context, self.settings.max_context_chars))
            with span("answer", attributes={"winnow.frames": len(frames), "winnow.prompts": len(asked.prompts)}):
                result = await self.engine.answer(frames, asked.prompts, deadline)
                past_stages(result.stages)
        issues, warnings = judge(
            request.issues,
            asked,
            result.answers,
            calibrators=self.calibrators,
            conditions=FittedFor(model=self.engine.identity.fingerprint, frames=len(frames)),
            min_answer_mass=self.settings.min_answer_mass,
        )
        stages = {"decode": decoded_s, **result.stages}
        self.metrics.stages(stages)
        self.metrics.judged(issues)
        self.metrics.prompts.observe(len(asked.prompts))
        for answer in result.answers:
            self.metrics.answer_mass.observe(answer.answer_mass)
        return RankResult(issues=issues, model=self.identity, warnings=warnings, timings=Timings(stages=stages))
