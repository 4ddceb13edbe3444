"""Meeting a server: does it serve the model, and how are log-probabilities got from it."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ranker_svc.engines.openai.logprobs import OddAnswer, first_position, read_token_ids
from ranker_svc.engines.openai.messages import Conversation, Dialect
from ranker_svc.engines.openai.server import (
    COMPLETIONS,
    MODELS,
    Models,
    Refused,
    ServedModel,
    Server,
    Unreachable,
    checked,
    error_in,
    parsed,
    told,
)
from ranker_svc.engines.openai.tokens import SAMPLE, Tokenizer
from ranker_svc.engines.protocol import EngineStartError
from services.clients.http import CallFailed
from services.deadline import Deadline
from services.errors import DeadlineExceeded

logger = logging.getLogger(__name__)

LogprobsMode = Literal["auto", "token_ids", "top"]
_FEWER = (10, 5)
"""Likeliest tokens tried where the server refuses as many as are wanted."""
_SHOWN = 10
_NO_FRAMES = Conversation(images=b"")


@dataclass(frozen=True)
class Wanted:
    """What a server is to do: serve `model`, and give log-probabilities in this way, `top` at most where by rank."""

    model: str
    mode: LogprobsMode = "auto"
    top: int = 20


@dataclass(frozen=True)
class Met:
    """A server that can be used: what it says of its model, and how to speak to it."""

    served: ServedModel
    dialect: Dialect


class Member:
    """What the pool knows of one of its servers.

    Attributes:
        server: speaks to it.
        dialect: how to ask it; known once it was met.
        reason: why it gets no prompt; None where it does.
        lasting: whether the reason is one that asking again does not cure.
        wake: set to have it looked at now.
        retries: prompts that it failed and another server was asked.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.dialect: Dialect | None = None
        self.reason: str | None = "it was not asked yet"
        self.lasting = False
        self.wake = asyncio.Event()
        self.retries = 0


async def meet(server: Server, wanted: Wanted, deadline: Deadline) -> Met:
    """Check the model, then ask a prompt without frames in each way that is wanted until one works.

    Raises:
        Refused: it answers, and cannot do what is wanted; the message says why.
        Unreachable: it does not answer by the deadline, or fails in a way that may pass.
    """
    try:
        served = await _served(server, wanted.model, deadline)
        tokenizer = Tokenizer(server, wanted.model, deadline)
        special = await tokenizer.add_special_tokens()
        found = await _by_token_ids(server, tokenizer, wanted, special, deadline)
        if found is None and wanted.mode == "token_ids":
            raise Refused(
                "it does not give log-probabilities by `logprob_token_ids` (vLLM does from 0.32); "
                "set WINNOW_RANKER_OPENAI_LOGPROBS=top"
            )
        if found is None:
            found = await _by_rank(server, wanted, special, deadline)
    except EngineStartError as error:
        raise Refused(str(error)) from error
    except CallFailed as error:
        raise Unreachable(str(error)) from error
    except DeadlineExceeded as error:
        raise Unreachable("it did not answer in time") from error
    extra = {"replica": server.name, "model": wanted.model, "reading": found.reading, "top": found.top}
    logger.info("model server met", extra=extra)
    return Met(served, found)


async def check(server: Server, deadline: Deadline) -> None:
    """Whether a server that was met is still healthy.

    Raises:
        Refused, Unreachable, CallFailed, DeadlineExceeded: it is not.
    """
    response = await server.get("/health", deadline)
    if response.is_client_error:
        # vLLM and others have that route; OpenAI's protocol does not.
        response = await server.get(MODELS, deadline)
    checked(response)


async def _served(server: Server, model: str, deadline: Deadline) -> ServedModel:
    response = checked(await server.get(MODELS, deadline))
    if response.status_code in {404, 405}:
        # Not every server lists its models; the prompt that follows tells.
        return ServedModel(id=model)
    models = parsed(response, Models)
    if models is None:
        raise Refused(f"its {MODELS} is no list of models: is it an OpenAI-compatible server?")
    for each in models.data:
        if each.id == model:
            return each
    names = ", ".join(f"`{each.id[:100]}`" for each in models.data[:_SHOWN]) or "none"
    raise Refused(f"it does not serve the model `{model}`; it has {names}: set WINNOW_RANKER_OPENAI_MODEL")


async def _by_token_ids(
    server: Server, tokenizer: Tokenizer, wanted: Wanted, special: bool | None, deadline: Deadline
) -> Dialect | None:
    """How to ask for named tokens; None where that is not wanted, or the server cannot."""
    if wanted.mode == "top" or special is None:
        return None
    tokens = await tokenizer.answer_tokens()
    if tokens is None:
        return None
    dialect = Dialect(wanted.model, "token_ids", tokens=tokens, add_special_tokens=special)
    response = checked(await server.post(COMPLETIONS, _NO_FRAMES.body(dialect, SAMPLE), deadline))
    try:
        if response.is_success:
            read_token_ids(first_position(response.content), tokens)
            return dialect
    except OddAnswer:
        # A server that ignores fields it does not know.
        pass
    return None


async def _by_rank(server: Server, wanted: Wanted, special: bool | None, deadline: Deadline) -> Dialect:
    refusal = "nothing"
    for dialect in _ranks(Dialect(wanted.model, "top", top=wanted.top, add_special_tokens=special)):
        response = checked(await server.post(COMPLETIONS, _NO_FRAMES.body(dialect, SAMPLE), deadline))
        if response.is_success:
            try:
                listed = first_position(response.content)
            except OddAnswer as error:
                raise Refused(f"it gives no log-probabilities: {error}") from error
            if len(listed) < 2:
                raise Refused("it lists no likeliest tokens (`top_logprobs`), so that Yes and No cannot be compared")
            return dialect
        refusal = told(response)
        if response.status_code == 404:
            raise Refused(f"it does not serve the model `{wanted.model}` ({refusal})")
        logger.info("model server refuses", extra={"replica": server.name, "param": error_in(response).param[:40]})
    raise Refused(f"it refuses a prompt with `top_logprobs`: {refusal}")


def _ranks(first: Dialect) -> Iterator[Dialect]:
    """The ways to ask, the best first."""
    for top in (first.top, *(each for each in _FEWER if each < first.top)):
        for limit in ("max_tokens", "max_completion_tokens"):
            yield replace(first, top=top, limit=limit)
