"""An engine without a model: the logits are a hash of frames and prompt. For tests of everything around an engine."""

import asyncio
import hashlib
import time
from collections.abc import Sequence

from ranker_svc.engines.protocol import EngineResult, FrameImage, RawAnswer
from ranker_svc.engines.worker import SerialWorker
from services.contracts import ModelIdentity
from services.deadline import Deadline
from services.errors import NotReady


class DeterministicEngine:
    """Answers at once, or after `seconds` of work in its single thread; the same input always gets the same answer."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._worker = SerialWorker("deterministic-engine")
        self._dead = asyncio.Event()
        self._reason = ""

    @property
    def identity(self) -> ModelIdentity:
        """A fixed name and fingerprint."""
        return ModelIdentity(name="deterministic", fingerprint="deterministic-1", engine="deterministic")

    @property
    def waiting(self) -> int:
        """Requests that wait for the thread."""
        return self._worker.waiting

    @property
    def collector(self) -> None:
        """No metrics of its own."""
        return None

    async def start(self) -> None:
        """Nothing to load."""

    async def answer(self, frames: Sequence[FrameImage], prompts: Sequence[str], deadline: Deadline) -> EngineResult:
        """Logits in [-4, 4] and an answer mass in [0.9, 1] from the SHA-256 of frames and prompt."""
        self._check_alive()
        asked = time.perf_counter()

        def work() -> tuple[float, tuple[RawAnswer, ...]]:
            began = time.perf_counter()
            time.sleep(self._seconds)
            return began, tuple(_hashed(frames, prompt) for prompt in prompts)

        began, answers = await self._worker.run(work, deadline)
        self._check_alive()
        return EngineResult(answers, {"queue": began - asked, "infer": time.perf_counter() - began})

    async def health(self) -> str | None:
        """Able to answer until `die`."""
        return self._reason if self._dead.is_set() else None

    async def died(self) -> str:
        """Wait for `die`."""
        await self._dead.wait()
        return self._reason

    def die(self, reason: str) -> None:
        """Behave from now on as an engine whose process has died."""
        self._reason = reason
        self._dead.set()

    async def close(self) -> None:
        """End the thread."""
        await self._worker.close()

    def _check_alive(self) -> None:
        if self._dead.is_set():
            raise NotReady(f"The engine is dead: {self._reason}.")


def _hashed(frames: Sequence[FrameImage], prompt: str) -> RawAnswer:
    digest = hashlib.sha256(prompt.encode())
    for frame in frames:
        digest.update(hashlib.sha256(frame.jpeg).digest())
    yes, no, mass = (int.from_bytes(digest.digest()[i : i + 4], "big") / 0xFFFFFFFF for i in (0, 4, 8))
    return RawAnswer(logit_yes=8.0 * yes - 4.0, logit_no=8.0 * no - 4.0, answer_mass=0.9 + 0.1 * mass)
