"""Which token ids of a vLLM server mean Yes and No: asked through its own tokenizer and chat template."""

import asyncio
from typing import Any

from pydantic import BaseModel

from ranker_svc.engines.openai.server import Server, checked, parsed
from ranker_svc.engines.yes_no import AnswerTokens, answer_tokens, texts_to_tokenize
from services.deadline import Deadline

SAMPLE = "Does this video violate the policy? Answer Yes or No."
_SAME_END = 4
"""Tokens at the end of the rendered template that must come out the same when its text is tokenized again."""


class _Tokens(BaseModel):
    tokens: list[int]


class _Text(BaseModel):
    prompt: str


class Tokenizer:
    """A server's `/tokenize` and `/detokenize`, for one of its models."""

    def __init__(self, server: Server, model: str, deadline: Deadline) -> None:
        self._server = server
        self._model = model
        self._deadline = deadline

    async def add_special_tokens(self) -> bool | None:
        """Whether the server has to be told to put a beginning of sequence in front; None where it tokenizes nothing.

        It must stand there once: a template that renders it needs no second one, one that does not needs it added.
        """
        bare, special = await self._chat(False), await self._chat(True)
        if not bare or not special:
            return None
        return special[1:] == bare and bare[0] != special[0]

    async def answer_tokens(self) -> AnswerTokens | None:
        """Ids of Yes and No after the chat template, all single-token spellings; None where the server cannot tell.

        Raises:
            EngineStartError: there is no single-token spelling.
        """
        ids = await self._chat(False)
        if not ids:
            return None
        text = parsed(await self._post("/detokenize", {"tokens": ids}), _Text)
        if text is None:
            return None
        texts = texts_to_tokenize(text.prompt)
        found = await asyncio.gather(*(self._tokenized(each) for each in texts))
        known = {each: tokens for each, tokens in zip(texts, found, strict=True) if tokens}
        # Decoding may lose what the template ends with; then nothing is known of what follows it.
        if len(known) < len(texts) or known[text.prompt][-_SAME_END:] != ids[-_SAME_END:]:
            return None
        return answer_tokens(known.__getitem__, text.prompt)

    async def _chat(self, special: bool) -> list[int]:
        messages = [{"role": "user", "content": [{"type": "text", "text": SAMPLE}]}]
        body = {"messages": messages, "add_generation_prompt": True, "add_special_tokens": special}
        return await self._ids(body)

    async def _tokenized(self, text: str) -> list[int]:
        return await self._ids({"prompt": text, "add_special_tokens": False})

    async def _ids(self, body: dict[str, Any]) -> list[int]:
        found = parsed(await self._post("/tokenize", body), _Tokens)
        return [] if found is None else found.tokens

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        response = await self._server.post(path, {"model": self._model, **body}, self._deadline)
        # A gateway in front may let only OpenAI's routes through: that says nothing about the key.
        return response if response.is_client_error else checked(response)
