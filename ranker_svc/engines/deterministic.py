"""An engine without a model: the logits are a hash of frames and prompt. For tests of everything around an engine."""

import hashlib
import time
from collections.abc import Sequence

from ranker_svc.engines.protocol import EngineResult, FrameImage, RawAnswer
from ranker_svc.engines.worker import SerialWorker
from services.contracts import ModelIdentity
from services.deadline import Deadline


class DeterministicEngine:
    """Answers at once, or after `seconds` of work in its single thread; the same input always gets the same answer."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._worker = SerialWorker("deterministic-engine")

    @property
    def identity(self) -> ModelIdentity:
        """A fixed name and fingerprint."""
        return ModelIdentity(name="deterministic", fingerprint="deterministic-1", engine="deterministic")

    @property
    def waiting(self) -> int:
        """Requests that wait for the thread."""
        return self._worker.waiting

    async def start(self) -> None:
        """Nothing to load."""

    async def answer(self, frames: Sequence[FrameImage], prompts: Sequence[str], deadline: Deadline) -> EngineResult:
        """Logits in [-4, 4] and an answer mass in [0.9, 1] from the SHA-256 of frames and prompt."""
        asked = time.perf_counter()

        def work() -> tuple[float, tuple[RawAnswer, ...]]:
            began = time.perf_counter()
            time.sleep(self._seconds)
            return began, tuple(_hashed(frames, prompt) for prompt in prompts)

        began, answers = await self._worker.run(work, deadline)
        return EngineResult(answers, {"queue": began - asked, "infer": time.perf_counter() - began})

    async def health(self) -> str | None:
        """Always able to answer."""
        return None

    async def close(self) -> None:
        """End the thread."""
        await self._worker.close()


def _hashed(frames: Sequence[FrameImage], prompt: str) -> RawAnswer:
    digest = hashlib.sha256(prompt.encode())
    for frame in frames:
        digest.update(hashlib.sha256(frame.jpeg).digest())
    yes, no, mass = (int.from_bytes(digest.digest()[i : i + 4], "big") / 0xFFFFFFFF for i in (0, 4, 8))
    return RawAnswer(logit_yes=8.0 * yes - 4.0, logit_no=8.0 * no - 4.0, answer_mass=0.9 + 0.1 * mass)
