"""Prompts as a processor's token ids: chat template, image placeholders, special tokens. Imports neither torch nor
model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.engines.yes_no import AnswerTokens, answer_tokens
from services.prompts import strip_special

if TYPE_CHECKING:
    from PIL.Image import Image

_SAMPLE = "Does this video violate the policy? Answer Yes or No."


@dataclass(frozen=True)
class Encoded:
    """A request as the model takes it.

    Attributes:
        ids: for each prompt its token ids, image placeholders expanded.
        vision: the processor's tensors of the frames (`pixel_values`, for some models `image_sizes`).
        last_image_token: index of the last image placeholder, the same in all prompts.
    """

    ids: tuple[tuple[int, ...], ...]
    vision: Mapping[str, Any]
    last_image_token: int


class Prompting:
    """A transformers processor, asked in one fixed way: frames first, text last, one user turn.

    Raises:
        EngineStartError: the processor has no chat template or no image token, or its template drops a frame.
    """

    def __init__(self, processor: Any, config: Any) -> None:
        self._processor = processor
        self._tokenizer: Any = getattr(processor, "tokenizer", None)
        self._image_id: int | None = getattr(config, "image_token_id", None)
        if self._tokenizer is None or self._image_id is None:
            raise EngineStartError("the checkpoint has no tokenizer or no image token: it is no image-text model")
        if not getattr(processor, "chat_template", None):
            raise EngineStartError("the checkpoint has no chat template (chat_template.jinja)")
        # Added tokens are found in any text, whether or not they are flagged as special.
        self._special = frozenset({*self._tokenizer.all_special_tokens, *self._tokenizer.get_added_vocab()})
        if self._tokenize(self._render(_SAMPLE, 2)).count(self._image_id) != 2:
            raise EngineStartError("the chat template does not give every frame one image token")

    def answer_tokens(self) -> AnswerTokens:
        """Ids of Yes and No after this chat template; see `yes_no.answer_tokens`."""
        return answer_tokens(self._tokenize, self._render(_SAMPLE, 1))

    def encode(self, images: Sequence["Image"], prompts: Sequence[str]) -> Encoded:
        """Token ids of every prompt about the same frames; the frames are preprocessed once."""
        rendered = [self._render(prompt, len(images)) for prompt in prompts]
        first = self._processed(images, rendered[0])
        ids = tuple(first["input_ids"][0].tolist())
        expanded = self._expanded(rendered, ids.count(self._image_id), len(images))
        if expanded is None or expanded[0] != ids:
            # A processor with placeholders of its own kind: let it see every prompt.
            others = [self._processed(images, text)["input_ids"][0].tolist() for text in rendered[1:]]
            expanded = (ids, *map(tuple, others))
        vision = {key: value for key, value in first.items() if key not in {"input_ids", "attention_mask"}}
        last = len(ids) - 1 - ids[::-1].index(self._image_id)
        return Encoded(expanded, vision, last)

    def _render(self, prompt: str, images: int) -> str:
        content = [{"type": "image"}] * images + [{"type": "text", "text": strip_special(prompt, self._special)}]
        messages = [{"role": "user", "content": content}]
        rendered: str = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return rendered

    def _tokenize(self, rendered: str) -> list[int]:
        ids: list[int] = self._tokenizer(rendered, add_special_tokens=self._adds_special(rendered))["input_ids"]
        return ids

    def _processed(self, images: Sequence["Image"], rendered: str) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self._processor(
            images=list(images),
            text=[rendered],
            return_tensors="pt",
            add_special_tokens=self._adds_special(rendered),
        )
        return result

    def _adds_special(self, rendered: str) -> bool:
        """Whether the tokenizer must add what the template leaves out: a beginning of sequence is wanted once."""
        bos = self._tokenizer.bos_token
        return not (bos and rendered.startswith(bos))

    def _expanded(self, rendered: Sequence[str], total: int, images: int) -> tuple[tuple[int, ...], ...] | None:
        """Ids with each placeholder repeated as often as the processor does; None where frames differ in number."""
        each, left = divmod(total, images)
        if left:
            return None
        return tuple(
            tuple(token for token in self._tokenize(text) for _ in range(each if token == self._image_id else 1))
            for text in rendered
        )
