"""What every engine is: frames and independent prompts in, the logits of Yes and No out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from services.contracts import ModelIdentity
from services.deadline import Deadline

if TYPE_CHECKING:
    from PIL.Image import Image
    from prometheus_client.registry import Collector


class EngineStartError(RuntimeError):
    """The engine cannot serve this model; the message says why and what would help."""


@dataclass(frozen=True)
class FrameImage:
    """One frame: the JPEG file as it came, its pixels (RGB), and its time in the video, seconds."""

    jpeg: bytes
    image: "Image"
    time_s: float = 0.0


@dataclass(frozen=True)
class RawAnswer:
    """The first generated token's distribution, reduced to the two answers (Filter-And-Refine, Algorithm 1).

    Attributes:
        logit_yes: log-sum-exp of the logits of all single-token spellings of Yes.
        logit_no: the same for No.
        answer_mass: share of the whole softmax on both, in [0, 1].
    """

    logit_yes: float
    logit_no: float
    answer_mass: float


@dataclass(frozen=True)
class EngineResult:
    """One answer for each prompt, and the seconds of its stages (`queue`, `preprocess`, `infer`), both in order."""

    answers: tuple[RawAnswer, ...]
    stages: Mapping[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """A model behind the ranker. Every method is called on the event loop and must not block it."""

    @property
    def identity(self) -> ModelIdentity:
        """Which model answers; known once started."""
        ...

    @property
    def waiting(self) -> int:
        """Requests that wait for the model, without those being answered."""
        ...

    @property
    def collector(self) -> "Collector | None":
        """Metrics of the engine's own for the ranker's `/metrics`, asked for once started; None where it has none."""
        ...

    async def start(self) -> None:
        """Load the model. May be cancelled; `close` is called then too.

        Raises:
            EngineStartError: this model cannot be served.
        """
        ...

    async def answer(self, frames: Sequence[FrameImage], prompts: Sequence[str], deadline: Deadline) -> EngineResult:
        """Answer each prompt by itself about the same frames.

        The frames stand first, the prompt's text after them. The cost of seeing the frames is paid once, however many
        prompts there are. A cancelled call that still waits costs nothing; one that runs is not waited for.

        Args:
            frames: at least one, in order of time.
            prompts: at least one; each asks for Yes or No.
            deadline: work that has not begun by then is not done.

        Raises:
            DeadlineExceeded: the deadline passed while the call was waiting.
            InvalidPayload: frames and text do not fit into the model's context.
            NotReady: the engine is dead, died during the call, or cannot be reached.
        """
        ...

    async def died(self) -> str:
        """Wait until the engine has died by itself, and give the reason; called once started.

        It never lives again: the ranker ends, so that it is replaced. Waits for ever while the engine lives, and where
        it cannot die apart from this process.
        """
        ...

    async def health(self) -> str | None:
        """None where the engine can answer, otherwise the reason that it cannot."""
        ...

    async def close(self) -> None:
        """Let go of the model; nothing is asked afterwards."""
        ...
