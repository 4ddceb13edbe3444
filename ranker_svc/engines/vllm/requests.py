"""One prompt as a request to vLLM: what is sent, what comes back, and which of our errors vLLM's become."""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ranker_svc.engines.prompting import Prompting
from ranker_svc.engines.protocol import FrameImage, RawAnswer
from ranker_svc.engines.vllm.loading import Loaded
from ranker_svc.engines.yes_no import AnswerTokens, read_logprobs
from services.errors import Internal, InvalidPayload, NotReady

logger = logging.getLogger(__name__)

DEAD = "vLLM's engine process has died"


@dataclass(frozen=True)
class Answered:
    """An answer, and the seconds that its prompt waited in vLLM's scheduler."""

    answer: RawAnswer
    queue_s: float


class FramesLost(Exception):
    """The engine process no longer has frames that were sent to it by name."""


def prepare(prompting: Prompting, frames: Sequence[FrameImage], prompts: Sequence[str]) -> list[dict[str, Any]]:
    """vLLM's TokensPrompt of every prompt; all share the same frames under the same names. Blocks."""
    media, names = prompting.media(frames), prompting.media_ids(frames)
    return [
        {"prompt_token_ids": prompting.tokens(prompt, frames), "multi_modal_data": media, "multi_modal_uuids": names}
        for prompt in prompts
    ]


def blank_frame() -> FrameImage:
    """A grey frame of 336 x 336."""
    from PIL import Image

    image, file = Image.new("RGB", (336, 336), (128, 128, 128)), io.BytesIO()
    image.save(file, "JPEG")
    return FrameImage(file.getvalue(), image)


async def rendered(loaded: Loaded, raw: Mapping[str, Any]) -> Any:
    """A prompt as the engine process takes it; frames that vLLM's cache knows by name are not preprocessed again.

    Raises:
        InvalidPayload: frames and text are longer than the model takes, or its processor refuses the frames.
    """
    from vllm.exceptions import VLLMClientError

    # One token is left for the answer.
    most = loaded.max_tokens - 1
    if (length := len(raw["prompt_token_ids"])) > most:
        raise InvalidPayload(f"The text alone is {length} tokens; with the frames the model takes {most}.")
    try:
        (ready,) = await loaded.llm.renderer.render_cmpl_async([raw])
    except (VLLMClientError, ValueError) as error:
        raise _refused(error) from error
    if (length := len(ready["prompt_token_ids"])) > most:
        raise InvalidPayload(f"The frames and the text are {length} tokens; the model takes {most}.")
    return ready


async def ask(loaded: Loaded, ready: Any, request: str) -> Answered:
    """The answer to one rendered prompt. A cancelled call aborts the request in vLLM.

    Raises:
        FramesLost: render the prompt again; vLLM has noted that the frames must be sent again.
        InvalidPayload: vLLM refuses the prompt.
        NotReady: the engine has died.
        Internal: vLLM failed.
    """
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    output: Any = None
    try:
        async for each in loaded.llm.generate(ready, loaded.sampling, request):
            output = each
    except EngineDeadError as error:
        raise NotReady(f"The engine is dead: {DEAD}.") from error
    except (VLLMClientError, ValueError) as error:
        raise _refused(error) from error
    except EngineGenerateError as error:
        if loaded.llm.errored:
            raise NotReady(f"The engine is dead: {DEAD}.") from error
        logger.exception("vLLM failed to answer")
        raise Internal("The engine failed to answer.") from error
    except BaseException:
        # vLLM aborts what it has queued; this also finds a request on whose way there it was cancelled.
        await loaded.llm.abort(request)
        raise
    if output.outputs[0].finish_reason == "error":
        raise FramesLost
    return Answered(_read(output, loaded.tokens), _queue_s(output))


def _refused(error: Exception) -> InvalidPayload:
    logger.warning("vLLM refuses a prompt", extra={"reason": str(error)})
    return InvalidPayload("The model does not take these frames and this text.")


def _read(output: Any, tokens: AnswerTokens) -> RawAnswer:
    """The first token's log-probabilities; they are logits up to one constant."""
    found = output.outputs[0].logprobs[0]
    yes, no = ([found[token].logprob for token in ids] for ids in (tokens.yes, tokens.no))
    return read_logprobs(yes, no)


def _queue_s(output: Any) -> float:
    metrics = output.metrics
    return 0.0 if metrics is None else max(0.0, metrics.scheduled_ts - metrics.queued_ts)
