"""Prompts as a processor's token ids: chat template, placeholders of frames, special tokens. Imports neither torch nor
model."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ranker_svc.engines.families import family_of
from ranker_svc.engines.protocol import EngineStartError, FrameImage
from ranker_svc.engines.yes_no import AnswerTokens, answer_tokens
from ranker_svc.settings import FramesWish
from services.prompts import strip_special

if TYPE_CHECKING:
    from PIL.Image import Image

_SAMPLE = "Does this video violate the policy? Answer Yes or No."

_CLOCK_HZ = 1000
"""Times of frames are given to a processor as indices of a clock with so many ticks a second."""


@dataclass(frozen=True)
class Encoded:
    """A request as the model takes it.

    Attributes:
        ids: for each prompt its token ids, placeholders expanded.
        vision: the processor's tensors of the frames (`pixel_values`, for some models `image_sizes` or a grid).
        token_types: for models that ask for it, which of the first prompt's tokens are of frames.
        last_placeholder: index of the last placeholder, the same in all prompts.
    """

    ids: tuple[tuple[int, ...], ...]
    vision: Mapping[str, Any]
    token_types: Any | None
    last_placeholder: int


class Prompting:
    """A transformers processor, asked in one fixed way: frames first, text last, one user turn.

    Args:
        processor: of the checkpoint; what its family replaces is replaced in it and in `config`.
        config: of the checkpoint.
        max_frames: most frames of a request.
        frames_as: see `families.family_of`.

    Raises:
        EngineStartError: the processor has no chat template or no placeholder, or its template drops a frame.
    """

    def __init__(
        self,
        processor: Any,
        config: Any,
        *,
        max_frames: int = 16,
        frames_as: FramesWish = "auto",
    ) -> None:
        self.family = family_of(config, frames_as)
        self._processor = processor
        self._tokenizer: Any = getattr(processor, "tokenizer", None)
        self._video = self.family.frames == "video"
        kind = "video" if self._video else "image"
        placeholder: int | None = getattr(config, f"{kind}_token_id", None)
        if self._tokenizer is None or placeholder is None:
            raise EngineStartError(f"the checkpoint has no tokenizer or no {kind} token: it is no image-text model")
        if not getattr(processor, "chat_template", None):
            raise EngineStartError("the checkpoint has no chat template (chat_template.jinja)")
        self.placeholder = placeholder
        self.family.adapt(processor, config)
        self._arguments = self.family.processor(max_frames)
        # Added tokens are found in any text, whether or not they are flagged as special.
        self._special = frozenset({*self._tokenizer.all_special_tokens, *self._tokenizer.get_added_vocab()})
        if self._tokenize(self._render(_SAMPLE, 2)).count(placeholder) != (1 if self._video else 2):
            raise EngineStartError(
                "the chat template does not give the video one video token"
                if self._video
                else "the chat template does not give every frame one image token"
            )

    def answer_tokens(self) -> AnswerTokens:
        """Ids of Yes and No after this chat template; see `yes_no.answer_tokens`."""
        return answer_tokens(self._tokenize, self._render(_SAMPLE, 1))

    def tokens(self, prompt: str, frames: Sequence[FrameImage]) -> list[int]:
        """Ids of a rendered prompt as vLLM takes them: one placeholder for each frame, or one for the video."""
        return self._tokenize(self._render(prompt, len(frames)))

    def media(self, frames: Sequence[FrameImage]) -> dict[str, list[Any]]:
        """The frames as vLLM's `multi_modal_data`: RGB images, or one video (uint8 [frames, height, width, 3] and its
        metadata)."""
        if not self._video:
            return {"image": [frame.image for frame in frames]}
        shown = self._shown(frames)
        return {"video": [(_pixels(shown), {**_clock(shown), "do_sample_frames": False})]}

    def media_ids(self, frames: Sequence[FrameImage]) -> dict[str, list[str]]:
        """vLLM's `multi_modal_uuids`, SHA-256 of a frame's file, or of all files and times."""
        digests = [hashlib.sha256(frame.jpeg).hexdigest() for frame in frames]
        if not self._video:
            return {"image": digests}
        video = "\n".join(f"{digest} {frame.time_s!r}" for digest, frame in zip(digests, frames, strict=True))
        return {"video": [hashlib.sha256(video.encode()).hexdigest()]}

    def encode(self, frames: Sequence[FrameImage], prompts: Sequence[str]) -> Encoded:
        """Token ids of every prompt about the same frames; the frames are preprocessed once."""
        rendered = [self._render(prompt, len(frames)) for prompt in prompts]
        first = self._processed(frames, rendered[0])
        ids = tuple(first["input_ids"][0].tolist())
        expanded = self._expanded(ids, [self._tokenize(text) for text in rendered])
        if expanded is None:
            # A processor with expansions of its own kind: let it see every prompt.
            others = [self._processed(frames, text)["input_ids"][0].tolist() for text in rendered[1:]]
            expanded = (ids, *map(tuple, others))
        text_only = {"input_ids", "attention_mask", "mm_token_type_ids"}
        vision = {key: value for key, value in first.items() if key not in text_only and hasattr(value, "shape")}
        last = len(ids) - 1 - ids[::-1].index(self.placeholder)
        return Encoded(expanded, vision, first.get("mm_token_type_ids"), last)

    def _render(self, prompt: str, frames: int) -> str:
        media = [{"type": "video"}] if self._video else [{"type": "image"}] * frames
        content = [*media, {"type": "text", "text": strip_special(prompt, self._special)}]
        messages = [{"role": "user", "content": content}]
        rendered: str = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return rendered

    def _tokenize(self, rendered: str) -> list[int]:
        ids: list[int] = self._tokenizer(rendered, add_special_tokens=self._adds_special(rendered))["input_ids"]
        return ids

    def _processed(self, frames: Sequence[FrameImage], rendered: str) -> Mapping[str, Any]:
        given: dict[str, Any] = {key: dict(value) for key, value in self._arguments.items()}
        if self._video:
            shown = self._shown(frames)
            metadata = {"video_metadata": [_clock(shown)], "do_sample_frames": False}
            given["videos_kwargs"] = {**given.get("videos_kwargs", {}), **metadata}
            given["videos"] = [_pixels(shown)]
        else:
            given["images"] = [frame.image for frame in frames]
        result: Mapping[str, Any] = self._processor(
            text=[rendered],
            return_tensors="pt",
            text_kwargs={"add_special_tokens": self._adds_special(rendered)},
            **given,
        )
        return result

    def _adds_special(self, rendered: str) -> bool:
        """Whether the tokenizer must add what the template leaves out: a beginning of sequence is wanted once."""
        bos = self._tokenizer.bos_token
        return not (bos and rendered.startswith(bos))

    def _expanded(self, first: tuple[int, ...], plain: Sequence[list[int]]) -> tuple[tuple[int, ...], ...] | None:
        """Ids of all prompts, given the first one's as the processor expanded them; None where that cannot be told."""
        heads, tails = zip(*(self._split(ids) for ids in plain), strict=True)
        cut = len(first) - len(tails[0])
        if first[cut:] != tails[0] or any(head != heads[0] for head in heads):
            return None
        return tuple(first[:cut] + tail for tail in tails)

    def _split(self, ids: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        end = len(ids) - ids[::-1].index(self.placeholder)
        return tuple(ids[:end]), tuple(ids[end:])

    def _shown(self, frames: Sequence[FrameImage]) -> list[FrameImage]:
        missing = self.family.least_frames - len(frames)
        return [*frames, *[frames[-1]] * max(0, missing)]


def _pixels(frames: Sequence[FrameImage]) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Frames as one array; all get the size of the first."""
    size = frames[0].image.size
    return np.stack([np.asarray(_sized(frame.image, size).convert("RGB")) for frame in frames])


def _sized(image: "Image", size: tuple[int, int]) -> "Image":
    return image if image.size == size else image.resize(size)


def _clock(frames: Sequence[FrameImage]) -> dict[str, Any]:
    """A video's metadata from which processors read each frame's time, and the mean time between two.

    Frames that are all of one time count as one second apart in the mean.
    """
    times = [frame.time_s for frame in frames]
    mean = (times[-1] - times[0]) / max(1, len(times) - 1)
    if mean <= 0:
        mean = 1.0
    return {
        "fps": float(_CLOCK_HZ),
        "frames_indices": [round(time * _CLOCK_HZ) for time in times],
        "total_num_frames": max(1, round(mean * _CLOCK_HZ * len(frames))),
        "duration": mean * len(frames),
    }
