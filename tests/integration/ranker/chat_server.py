"""A small real HTTP server that speaks OpenAI's chat completions, for servers that cannot run here.

Its answers are set by the test: `answer` turns a request into a status and a body.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ranker_svc.engines.openai.engine import OpenAIEngine
from services.deadline import Deadline
from tests.servers import free_port
from tests.web import AppServer

Answer = tuple[int, Any]
KEY = "sk-very-secret"
PROMPTS = ("Is it? Answer Yes or No.", "Is it that? Answer Yes or No.")
DISTRIBUTION = {" Yes": -0.5, " No": -1.25, "yes": -4.0, "maybe": -5.0}


def listed(logprobs: dict[str, float]) -> dict[str, Any]:
    """A completion whose first position lists these tokens."""
    tokens = [{"token": token, "logprob": value, "bytes": None} for token, value in logprobs.items()]
    content = [{**tokens[0], "top_logprobs": tokens}]
    return {"choices": [{"index": 0, "message": {"content": "x"}, "logprobs": {"content": content}}]}


class ChatServer:
    """One server; its attributes may be changed while it runs."""

    def __init__(self, *, models: tuple[str, ...] = ("m",), key: str | None = None, most: int = 20) -> None:
        self.models = models
        self.key = key
        self.most = most
        self.root: str | None = None
        # vLLM's routes for its tokenizer are there where it has a vocabulary: words by id, all else one id a character.
        self.vocabulary: dict[str, int] = {}
        self.template = "<s>USER: {} ASSISTANT:"
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _: (200, listed(DISTRIBUTION))
        self.held: asyncio.Event | None = None
        self.requests: list[dict[str, Any]] = []
        self.hangs = False
        self.checks = 0
        self.left = 0
        self.now = 0
        self.peak = 0
        self.port = free_port()
        self._server: AppServer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The requests that carried frames: without what the engine asks when it meets a server."""
        return [each for each in self.requests if len(each["messages"][0]["content"]) > 1]

    async def start(self) -> None:
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
            Route("/tokenize", self._tokenize, methods=["POST"]),
            Route("/detokenize", self._detokenize, methods=["POST"]),
        ]
        self._server = AppServer(Starlette(routes=routes), port=self.port, lifespan="off", timeout_graceful_shutdown=0)
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = self._server.force_exit = True
            await self._task
        self._server = self._task = None

    def _allowed(self, request: Request) -> bool:
        return self.key is None or request.headers.get("authorization") == f"Bearer {self.key}"

    async def _models(self, request: Request) -> Response:
        self.checks += 1
        while self.hangs:
            await asyncio.sleep(0.005)
        if not self._allowed(request):
            return _json(401, {"error": {"message": f"Incorrect API key {self.key}", "code": "invalid_api_key"}})
        data = [{"id": each, "object": "model", "created": self.checks, "root": self.root} for each in self.models]
        return _json(200, {"object": "list", "data": data})

    async def _complete(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.requests.append(body)
        if not self._allowed(request):
            return _json(401, {"error": {"message": f"Incorrect API key {self.key}"}})
        if body.get("top_logprobs", 0) > self.most:
            return _json(400, {"error": {"message": "top_logprobs is too big", "param": "top_logprobs"}})
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            if self.held is not None and len(body["messages"][0]["content"]) > 1:
                await self._hold(request, self.held)
        finally:
            self.now -= 1
        return _json(*self.answer(body))

    async def _tokenize(self, request: Request) -> Response:
        body = await request.json()
        if not self.vocabulary:
            return _json(404, {"detail": "Not Found"})
        text = body["prompt"] if "prompt" in body else self.template.format(body["messages"][0]["content"][0]["text"])
        ids = [self.vocabulary["<s>"]] if body["add_special_tokens"] else []
        while text:
            piece = max((word for word in self.vocabulary if text.startswith(word)), key=len, default=text[0])
            ids.append(self.vocabulary.get(piece, 1000 + ord(piece[0])))
            text = text[len(piece) :]
        return _json(200, {"tokens": ids, "count": len(ids)})

    async def _detokenize(self, request: Request) -> Response:
        words = {number: word for word, number in self.vocabulary.items()}
        ids = (await request.json())["tokens"]
        return _json(200, {"prompt": "".join(words.get(each) or chr(each - 1000) for each in ids)})

    async def _hold(self, request: Request, held: asyncio.Event) -> None:
        while not held.is_set():
            if await request.is_disconnected():
                self.left += 1
                return
            await asyncio.sleep(0.005)


def _json(status: int, body: Any) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(content, status, media_type="application/json")


@asynccontextmanager
async def chat_servers(*servers: ChatServer) -> AsyncIterator[tuple[ChatServer, ...]]:
    """The servers run for the block."""
    try:
        for server in servers:
            await server.start()
        yield servers
    finally:
        for server in servers:
            server.hangs = False
            if server.held is not None:
                server.held.set()
            await server.stop()


@asynccontextmanager
async def engine(*urls: str, model: str = "m", **settings: Any) -> AsyncIterator[OpenAIEngine]:
    made = OpenAIEngine(urls, model, **{"check_s": 0.1, **settings})
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def soon() -> Deadline:
    return Deadline.after(10.0)


async def until(true: Any, seconds: float = 5.0) -> None:
    """Wait for a condition; fail where it does not come."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
