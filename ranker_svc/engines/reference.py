"""The reference engine: a LLaVA-architecture checkpoint under transformers, Algorithm 1 of the paper to the letter.

The only module of the ranker that imports torch or transformers, and only when the engine starts.
"""

import asyncio
import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ranker_svc.engines.checkpoint import Checkpoint
from ranker_svc.engines.prompting import Encoded, Prompting
from ranker_svc.engines.protocol import EngineResult, EngineStartError, FrameImage, RawAnswer
from ranker_svc.engines.worker import SerialWorker
from ranker_svc.engines.yes_no import AnswerTokens, common_prefix, read_answer
from ranker_svc.settings import FramesWish
from services.contracts import ModelIdentity
from services.deadline import Deadline
from services.errors import InvalidPayload
from services.torchvision_compat import ensure_torchvision

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Loaded:
    """A model that is ready to answer."""

    model: Any
    prompting: Prompting
    tokens: AnswerTokens
    identity: ModelIdentity
    max_tokens: int | None


class ReferenceEngine:
    """Frames are seen once a request; every question continues from a copy of their key-value cache, in batches.

    Args:
        model: directory of a checkpoint (nothing is downloaded then), or a hub id.
        revision: branch, tag or commit of a hub id.
        dtype: `float32`, `bfloat16`, `float16`, or `auto` for the checkpoint's own.
        device: torch device.
        threads: CPU threads of torch, in this process; None leaves torch's choice.
        question_batch: most questions in one forward pass.
        max_frames: most frames of a request.
        frames_as: `images` or `video` overrules how the model's family takes frames.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        threads: int | None = None,
        question_batch: int = 16,
        max_frames: int = 16,
        frames_as: FramesWish = "auto",
    ) -> None:
        self._model = model
        self._revision = revision
        self._dtype = dtype
        self._device = device
        self._threads = threads
        self._question_batch = question_batch
        self._max_frames = max_frames
        self._frames_as = frames_as
        self._worker = SerialWorker("reference-engine")
        self._loaded: _Loaded | None = None

    @property
    def identity(self) -> ModelIdentity:
        """The checkpoint's name and the hash of its files."""
        return self._ready().identity

    @property
    def waiting(self) -> int:
        """Requests that wait for the engine's thread."""
        return self._worker.waiting

    @property
    def collector(self) -> None:
        """No metrics of its own."""
        return None

    async def start(self) -> None:
        """Load the checkpoint and find its tokens for Yes and No.

        Raises:
            EngineStartError: there is no such checkpoint, it is no image-text model, or it cannot answer in one token.
        """
        self._loaded = await self._worker.run(self._load)
        identity, tokens = self._loaded.identity, self._loaded.tokens
        extra = {"model": identity.name, "fingerprint": identity.fingerprint, "yes": tokens.yes, "no": tokens.no}
        logger.info("engine started", extra=extra)

    async def answer(self, frames: Sequence[FrameImage], prompts: Sequence[str], deadline: Deadline) -> EngineResult:
        """See `Engine.answer`."""
        loaded = self._ready()
        asked = time.perf_counter()
        return await self._worker.run(lambda: self._answer(loaded, frames, prompts, asked), deadline)

    async def health(self) -> str | None:
        """Whether the checkpoint is loaded."""
        return None if self._loaded is not None else "the model is not loaded"

    async def died(self) -> str:
        """Never: it is a part of this process."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        """Free the model, once a call that runs has ended; it is not waited for."""
        await self._worker.close()
        self._loaded = None

    def _ready(self) -> _Loaded:
        if self._loaded is None:
            raise RuntimeError("the engine has not been started")
        return self._loaded

    def _load(self) -> _Loaded:
        checkpoint = Checkpoint(self._model, self._revision)
        ensure_torchvision()
        import torch
        import transformers

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            torch.empty(0, device=self._device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise EngineStartError(
                f"the device {self._device!r} (WINNOW_RANKER_DEVICE) cannot be used: {reason}"
            ) from error
        transformers.utils.logging.disable_progress_bar()
        processor = checkpoint.load(transformers.AutoProcessor)
        dtype = self._dtype if self._dtype == "auto" else getattr(torch, self._dtype)
        model = checkpoint.load(transformers.AutoModelForImageTextToText, dtype=dtype)
        model.to(self._device)
        model.eval()
        prompting = Prompting(processor, model.config, max_frames=self._max_frames, frames_as=self._frames_as)
        return _Loaded(
            model=model,
            prompting=prompting,
            tokens=prompting.answer_tokens(),
            identity=checkpoint.identity("reference", model.config),
            max_tokens=getattr(model.config.get_text_config(), "max_position_embeddings", None),
        )

    def _answer(
        self, loaded: _Loaded, frames: Sequence[FrameImage], prompts: Sequence[str], asked: float
    ) -> EngineResult:
        import torch

        began = time.perf_counter()
        with torch.inference_mode():
            encoded = loaded.prompting.encode(frames, prompts)
            longest = max(map(len, encoded.ids))
            if loaded.max_tokens is not None and longest > loaded.max_tokens:
                raise InvalidPayload(
                    f"{len(frames)} frames and the text are {longest} tokens; the model takes {loaded.max_tokens}."
                )
            prepared = time.perf_counter()
            answers = self._infer(loaded, encoded)
        stages = {"queue": began - asked, "preprocess": prepared - began, "infer": time.perf_counter() - prepared}
        return EngineResult(answers, stages)

    def _infer(self, loaded: _Loaded, encoded: Encoded) -> tuple[RawAnswer, ...]:
        """Prefill what all prompts begin with, frames included; then continue with what is left of each."""
        import torch

        model, ids = loaded.model, encoded.ids
        shared = common_prefix(ids)
        if shared <= encoded.last_placeholder:
            raise RuntimeError("the chat template puts text that differs before the frames; they cannot be shared")
        vision = {
            key: value.to(self._device, model.dtype) if key.startswith("pixel_values") else value.to(self._device)
            for key, value in encoded.vision.items()
        }
        if encoded.token_types is not None:
            # The model keeps from it by how much the positions of later tokens are shifted (rope_deltas).
            vision["mm_token_type_ids"] = encoded.token_types[:, :shared].to(self._device)
        prefix = torch.tensor([ids[0][:shared]], device=self._device)
        cache = model(input_ids=prefix, **vision, use_cache=True, logits_to_keep=1).past_key_values
        answers: list[RawAnswer] = []
        for start in range(0, len(ids), self._question_batch):
            rest = [sequence[shared:] for sequence in ids[start : start + self._question_batch]]
            answers += self._continue(loaded, copy.deepcopy(cache), rest)
        return tuple(answers)

    def _continue(self, loaded: _Loaded, cache: Any, rest: Sequence[Sequence[int]]) -> list[RawAnswer]:
        """Read the answers to a batch of prompts; the cache of their common beginning is used up."""
        import torch

        if len(rest) > 1:
            cache.batch_repeat_interleave(len(rest))
        width = max(map(len, rest))
        # Padding stands behind each prompt, where causal attention hides it: no mask is needed, any token will do.
        padded = torch.tensor([[*part, *[part[-1]] * (width - len(part))] for part in rest], device=self._device)
        logits = loaded.model(input_ids=padded, past_key_values=cache, use_cache=True).logits
        last = [logits[row, len(part) - 1].float().cpu().numpy() for row, part in enumerate(rest)]
        return [read_answer(row, loaded.tokens) for row in last]
