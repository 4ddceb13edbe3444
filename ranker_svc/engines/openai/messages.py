"""A prompt as a chat completion request: one user turn, frames first, the text last. Pure."""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ranker_svc.engines.protocol import FrameImage
from ranker_svc.engines.yes_no import AnswerTokens

Reading = Literal["token_ids", "top"]

_SPECIAL = re.compile(r"<[^<>\s]{1,64}>|\[/?[A-Z_]{2,32}\]")
"""What special tokens and placeholders look like, e.g. `<image>`, `<|im_end|>`, `</s>`, `[INST]`."""

# A server may have other defaults, from the checkpoint's generation_config.json; they would bend processed logprobs.
_PINNED = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


@dataclass(frozen=True)
class Dialect:
    """How a server is asked and read; found out when it is met.

    Attributes:
        model: name under which it serves the model.
        reading: `token_ids`: log-probabilities of named tokens, exact. `top`: those of the likeliest tokens.
        tokens: of Yes and No; only for `token_ids`.
        top: likeliest tokens asked for; only for `top`.
        limit: the field that bounds the answer's length, `max_tokens` or, where that is refused,
            `max_completion_tokens`.
        add_special_tokens: whether vLLM must put a beginning of sequence before what the chat template renders; None
            for servers that do not tell.
    """

    model: str
    reading: Reading
    tokens: AnswerTokens | None = None
    top: int = 0
    limit: str = "max_tokens"
    add_special_tokens: bool | None = None

    def parameters(self) -> dict[str, Any]:
        """The request without its messages: one token, the likeliest, with log-probabilities."""
        asked: dict[str, Any] = {"model": self.model, self.limit: 1, "temperature": 0, "logprobs": True}
        if self.tokens is not None:
            ids = sorted({*self.tokens.yes, *self.tokens.no})
            asked |= {"logprob_token_ids": ids, "return_tokens_as_token_ids": True, **_PINNED}
        else:
            asked["top_logprobs"] = self.top
        if self.add_special_tokens is not None:
            asked["add_special_tokens"] = self.add_special_tokens
        return asked


@dataclass(frozen=True)
class RequestBody:
    """A JSON body in parts, so that the frames are held once for all prompts; it may be sent again."""

    parts: tuple[bytes, ...]

    @property
    def headers(self) -> Mapping[str, str]:
        """Content type and length."""
        return {"Content-Type": "application/json", "Content-Length": str(sum(map(len, self.parts)))}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part


@dataclass(frozen=True)
class Conversation:
    """The frames of a request, encoded once for all its prompts: a part of the JSON body."""

    images: bytes

    @classmethod
    def of(cls, frames: Sequence[FrameImage]) -> "Conversation":
        """Encode the JPEG files as they came. Takes time in proportion to their size: run it off the event loop."""
        images = b"".join(
            b'{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,' + base64.b64encode(frame.jpeg) + b'"}},'
            for frame in frames
        )
        return cls(images)

    def body(self, dialect: Dialect, prompt: str) -> RequestBody:
        """The request that asks a server of that dialect about the frames."""
        head = json.dumps(dialect.parameters())[:-1].encode() + b',"messages":[{"role":"user","content":['
        text = b'{"type":"text","text":' + json.dumps(plain(prompt)).encode() + b"}]}]}"
        return RequestBody((head, self.images, text))


def plain(prompt: str) -> str:
    """A prompt without anything that looks like a special token: the server's tokenizer would take it for one, and
    which it has cannot be asked."""
    while True:
        stripped = _SPECIAL.sub(" ", prompt)
        if stripped == prompt:
            return prompt
        prompt = stripped
