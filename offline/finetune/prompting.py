"""Samples as token ids and tensors: the prompt exactly as the ranker renders it, the answer's tokens behind it.

Families differ in how frames go in; the same choices stand in the ranker's engines, and a test compares the two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from offline.finetune.data import Sample
from offline.finetune.frames import Frames
from services.prompts import strip_special

_CLOCK_HZ = 1000
_QWEN_CELLS = (128, 768)


@dataclass(frozen=True)
class Family:
    """How models of one `model_type` take frames.

    Attributes:
        frames: every frame an image, or all of them one video.
        config: entries of the model's config and of the image processor that are replaced, given the config.
        processor: keyword arguments of the processor, given the config.
    """

    frames: Literal["images", "video"]
    config: Callable[[Any], Mapping[str, Any]] = lambda config: {}
    processor: Callable[[Any], Mapping[str, Any]] = lambda config: {}


def _one_tile(config: Any) -> Mapping[str, Any]:
    side = config.vision_config.image_size
    return {"image_grid_pinpoints": [[side, side]]}


def _frame_size(config: Any) -> Mapping[str, Any]:
    cell = (config.vision_config.patch_size * config.vision_config.spatial_merge_size) ** 2
    fewest, most = _QWEN_CELLS
    return {"videos_kwargs": {"size": {"shortest_edge": fewest * cell, "longest_edge": most * cell}}}


FAMILIES: Mapping[str, Family] = {
    "llava": Family("images"),
    "llava_next": Family("images", config=_one_tile),
    "llava_onevision": Family("video"),
    "qwen2_5_vl": Family("video", processor=_frame_size),
}


@dataclass(frozen=True)
class Encoded:
    """A sample as the model takes it.

    Attributes:
        ids: prompt with the frames' placeholders expanded, then the answer.
        answer: number of tokens of the answer.
        vision: tensors of the frames.
        token_types: for models that ask for it, which of the prompt's tokens are of frames.
    """

    ids: tuple[int, ...]
    answer: int
    vision: Mapping[str, Any]
    token_types: tuple[int, ...] | None


class SampleEncoder:
    """A checkpoint's processor, asked as the ranker asks it: frames first, text last, one user turn.

    Args:
        processor: of the checkpoint; what its family replaces is replaced in it and in `config`.
        config: of the checkpoint.

    Raises:
        ValueError: the family is not known here, or there is no chat template.
    """

    def __init__(self, processor: Any, config: Any) -> None:
        model_type = str(getattr(config, "model_type", "unknown"))
        if model_type not in FAMILIES:
            raise ValueError(f"models of type {model_type!r} cannot be fine-tuned here; known: {', '.join(FAMILIES)}")
        if getattr(processor, "tokenizer", None) is None or not getattr(processor, "chat_template", None):
            raise ValueError("the checkpoint has no tokenizer or no chat template (chat_template.jinja)")
        self._family = FAMILIES[model_type]
        self._processor = processor
        self._tokenizer: Any = processor.tokenizer
        self._special = frozenset({*self._tokenizer.all_special_tokens, *self._tokenizer.get_added_vocab()})
        self._replaced = self._family.config(config)
        self.adapt(config)
        for name, value in self._replaced.items():
            setattr(processor.image_processor, name, value)
        self._arguments = self._family.processor(config)

    @property
    def pad(self) -> int:
        """A token id to fill up shorter samples with; nothing looks at it."""
        pad = self._tokenizer.pad_token_id
        return int(self._tokenizer.eos_token_id if pad is None else pad)

    def adapt(self, config: Any) -> None:
        """Replace in the config of a loaded model what its family replaces."""
        for name, value in self._replaced.items():
            setattr(config, name, value)

    def encode(self, frames: Frames, sample: Sample) -> Encoded:
        """Ids and tensors of a sample.

        Raises:
            ValueError: as `answer_ids`.
        """
        rendered = self.render(sample.prompt, len(frames.images))
        processed = self._processed(frames, rendered)
        prompt = tuple(processed["input_ids"][0].tolist())
        answer = self.answer_ids(sample, rendered)
        text_only = {"input_ids", "attention_mask", "mm_token_type_ids"}
        vision = {key: value for key, value in processed.items() if key not in text_only and hasattr(value, "shape")}
        types = processed.get("mm_token_type_ids")
        return Encoded((*prompt, *answer), len(answer), vision, None if types is None else tuple(types[0].tolist()))

    def answer_ids(self, sample: Sample, rendered: str) -> list[int]:
        """The answer's tokens as they follow a rendered prompt; to those of D1 and D2 the end of sequence is added.

        An answer is set off by a space unless the prompt ends with white space. That of D3 is one token, and it is one
        of those that the ranker counts as Yes or as No.

        Raises:
            ValueError: the answer melts into the prompt, or that of D3 is no single token. The error names the line.
        """
        before = self._tokenize(rendered)
        text = strip_special(sample.answer, self._special).strip()
        after = self._tokenize(rendered + ("" if rendered[-1:].isspace() else " ") + text)
        own = after[len(before) :]
        if not text or not own or after[: len(before)] != before:
            raise ValueError(f"{sample.place}: answer: {sample.answer!r} cannot be told apart from the prompt's tokens")
        if sample.part != "d3":
            return [*own, self._tokenizer.eos_token_id]
        if len(own) != 1:
            raise ValueError(
                f"{sample.place}: answer: {sample.answer!r} is {len(own)} tokens behind this chat template, and the "
                "ranker reads one; use another checkpoint or template"
            )
        return own

    def check(self, samples: Sequence[Sample], frames: Callable[[Sample], Frames], most_tokens: int | None) -> None:
        """Tokenize every answer and estimate every length before training begins.

        Args:
            samples: all of them.
            frames: of a sample.
            most_tokens: that the model takes, if there is a limit.

        Raises:
            ValueError: as `answer_ids`, or a sample is too long; the error names the line.
        """
        seen = frames(samples[0])
        shown = len(seen.images)
        rendered = self.render(samples[0].prompt, shown)
        expansion = len(self._processed(seen, rendered)["input_ids"][0]) - len(self._tokenize(rendered))
        for sample in samples:
            text = self.render(sample.prompt, shown)
            length = len(self._tokenize(text)) + len(self.answer_ids(sample, text)) + expansion
            if most_tokens is not None and length > most_tokens:
                raise ValueError(
                    f"{sample.place}: with its frames it is about {length} tokens; the model takes {most_tokens}"
                )

    def yes_no(self) -> tuple[list[int], list[int]]:
        """Ids of all single-token spellings of Yes and of No behind the chat template, as the ranker counts them."""
        rendered = self.render("Answer Yes or No.", 1)
        before = self._tokenize(rendered)
        found = []
        for word in ("yes", "no"):
            spelt = [space + each for each in (word, word.capitalize(), word.upper()) for space in ("", " ")]
            ids = [self._tokenize(rendered + text) for text in spelt]
            found.append(sorted({each[-1] for each in ids if each[:-1] == before}))
        return found[0], found[1]

    def render(self, prompt: str, frames: int) -> str:
        """The text of a prompt after the chat template, up to where the answer begins."""
        media = [{"type": "video"}] if self._family.frames == "video" else [{"type": "image"}] * frames
        content = [*media, {"type": "text", "text": strip_special(prompt, self._special)}]
        messages = [{"role": "user", "content": content}]
        rendered: str = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return rendered

    def _processed(self, frames: Frames, rendered: str) -> Mapping[str, Any]:
        given: dict[str, Any] = {key: dict(value) for key, value in self._arguments.items()}
        if self._family.frames == "video":
            clock = {"video_metadata": [_clock(frames.times_s)], "do_sample_frames": False}
            given["videos_kwargs"] = {**given.get("videos_kwargs", {}), **clock}
            given["videos"] = [np.stack([np.asarray(image) for image in frames.images])]
        else:
            given["images"] = list(frames.images)
        adds = {"add_special_tokens": self._adds_special(rendered)}
        result: Mapping[str, Any] = self._processor(text=[rendered], return_tensors="pt", text_kwargs=adds, **given)
        return result

    def _tokenize(self, rendered: str) -> list[int]:
        ids: list[int] = self._tokenizer(rendered, add_special_tokens=self._adds_special(rendered))["input_ids"]
        return ids

    def _adds_special(self, rendered: str) -> bool:
        """Whether the tokenizer must add what the template leaves out: a beginning of sequence is wanted once."""
        bos = self._tokenizer.bos_token
        return not (bos and rendered.startswith(bos))


def _clock(times: Sequence[float]) -> dict[str, Any]:
    """A video's metadata, from which processors read the time of each frame and the mean time between two."""
    mean = (times[-1] - times[0]) / max(1, len(times) - 1)
    mean = mean if mean > 0 else 1.0
    return {
        "fps": float(_CLOCK_HZ),
        "frames_indices": [round(time * _CLOCK_HZ) for time in times],
        "total_num_frames": max(1, round(mean * _CLOCK_HZ * len(times))),
        "duration": mean * len(times),
    }
