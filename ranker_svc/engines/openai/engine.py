"""The openai engine: a model behind a pool of servers that speak OpenAI's chat completions."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

import httpx
from pydantic import SecretStr

from ranker_svc.engines.openai.meeting import LogprobsMode, Wanted
from ranker_svc.engines.openai.messages import Conversation
from ranker_svc.engines.openai.metrics import PoolCollector
from ranker_svc.engines.openai.places import Visit
from ranker_svc.engines.openai.pool import Pool
from ranker_svc.engines.openai.server import Server, address_of
from ranker_svc.engines.protocol import EngineResult, EngineStartError, FrameImage, RawAnswer
from services.contracts import ModelIdentity
from services.deadline import Deadline
from services.errors import NotReady, WinnowError
from services.fingerprint import fingerprint as fingerprint_of

_SPARE_CONNECTIONS = 2
"""For health checks beside the prompts."""


class OpenAIEngine:
    """Every prompt is one chat completion of one token; all prompts of a request are asked at once.

    Args:
        urls: of the servers, or of one load balancer; `/v1` at the end may be there or not.
        model: name under which all of them serve the model.
        key: their API key.
        mode: how log-probabilities are read; `auto` finds out.
        top: likeliest tokens asked for where they are read by rank.
        concurrency: most prompts at a time to one server.
        check_s: seconds between health checks.
        fingerprint: of the model; None makes one of what `/v1/models` says.
        transport: from a server's root URL to what carries its requests instead of the network.

    Raises:
        EngineStartError: a URL cannot be used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        model: str,
        *,
        key: SecretStr | None = None,
        mode: LogprobsMode = "auto",
        top: int = 20,
        concurrency: int = 64,
        check_s: float = 5.0,
        fingerprint: str | None = None,
        transport: Callable[[str], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        addresses = {address.name: address for address in map(address_of, urls)}
        if not addresses:
            raise EngineStartError("WINNOW_RANKER_OPENAI_URLS names no server")
        servers = [
            Server(
                address,
                key=key,
                max_connections=concurrency + _SPARE_CONNECTIONS,
                transport=None if transport is None else transport(address.root),
            )
            for address in addresses.values()
        ]
        self._model = model
        self._fingerprint = fingerprint
        # A name that nothing else has: results must not be remembered under a model that is not known yet.
        self._unknown = f"unknown-{secrets.token_hex(8)}"
        self._pool = Pool(
            servers, Wanted(model, mode, top), each=concurrency, check_s=check_s, alike=fingerprint is None
        )
        self._collector = PoolCollector(self._pool.replicas)

    @property
    def identity(self) -> ModelIdentity:
        """The model's name, and the fingerprint that was set, or a hash of the name and what the servers tell of it.

        While no server was ever reached, the fingerprint is `unknown-` and random digits.
        """
        return ModelIdentity(name=self._model, fingerprint=self._fingerprint or self._told(), engine="openai")

    @property
    def waiting(self) -> int:
        """Requests of which a prompt waits for a place at a server."""
        return self._pool.waiting

    @property
    def collector(self) -> PoolCollector:
        """Metrics of the pool."""
        return self._collector

    async def start(self) -> None:
        """Meet the servers. Those that are down are met when they come up: the engine is not healthy until one is.

        Raises:
            EngineStartError: a server answers, and has not the model, refuses the key or gives no log-probabilities.
        """
        await self._pool.start()

    async def answer(self, frames: Sequence[FrameImage], prompts: Sequence[str], deadline: Deadline) -> EngineResult:
        """See `Engine.answer`.

        Raises:
            Overloaded: every server that could be asked is overloaded.
        """
        began = time.perf_counter()
        reason = self._pool.missing()
        if reason is not None:
            raise NotReady(f"No model server can be asked: {reason}.")
        conversation = await asyncio.to_thread(Conversation.of, frames)
        prepared = time.perf_counter()
        visit = Visit()
        first: WinnowError | None = None
        try:
            async with deadline.limit(), asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._pool.ask(conversation, prompt, visit, deadline)) for prompt in prompts]
        except* WinnowError as errors:
            first = _first(errors)
        if first is not None:
            raise first
        answers: tuple[RawAnswer, ...] = tuple(task.result() for task in tasks)
        return EngineResult(answers, {"preprocess": prepared - began, "infer": time.perf_counter() - prepared})

    async def died(self) -> str:
        """Waits for ever: servers come back, and the engine with them."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")

    async def health(self) -> str | None:
        """None where at least one server can be asked, otherwise what is wrong with each."""
        return self._pool.missing()

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    def _told(self) -> str:
        served = self._pool.served
        return self._unknown if served is None else fingerprint_of(served.model_dump())


def _first(errors: "BaseExceptionGroup[WinnowError]") -> WinnowError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
