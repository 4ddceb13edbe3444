"""The whole cascade in one process: a gateway on a real socket, the router with real decoder processes, the ranker.

Router and ranker are reached through lines that a test may cut, slow down or make lie.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import gateway.app
import gateway.settings
import ranker_svc.app
import ranker_svc.settings
import router_svc.app
import router_svc.settings
from ranker_svc.engines.deterministic import DeterministicEngine
from router_svc.bank.memory import MemoryIndex
from services.clients import RouterClient
from services.contracts import Decision, Problem, SeedRequest
from services.deadline import Deadline
from services.encoder import HashEncoder
from tests.integration.router.conftest import WithState
from tests.integration.router.hostile import by_content
from tests.web import TestedServer

POLICY = """
name: catalogue
version: "1"
fail_modes: {ranker_missing: review, router_missing: block}
defaults:
  router: {threshold: 0.95}
  actions: {review: 0.4, block: 0.8}
issues:
  - {id: arson, name: arson, definition: Fire at a house.}
  - {id: smoking, name: smoking, definition: A cigarette., ranker_missing: allow}
"""
MAX_VIDEO, MAX_JSON = 2_000_000, 20_000
INTERNALS = re.compile(
    r"Traceback|File \\?\"|\.py\b|site-packages|0x[0-9a-f]{6,}|/tmp|/srv|/home|/usr|/etc|upload-|127\.0\.0\.1"
    r"|localhost|http://|sqlite|SELECT|INSERT|asyncio|pebble|[a-z]Error\b|Exception"
)
"""What no answer may tell: paths, stack traces, addresses, names of libraries and exceptions."""

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


@dataclass
class Line(httpx.AsyncBaseTransport):
    """The network before a service: `answer`, where it is set, answers in the service's place."""

    real: httpx.AsyncBaseTransport
    answer: Answer | None = None
    calls: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        return await (self.answer or self.real.handle_async_request)(request)


async def down(request: httpx.Request) -> httpx.Response:
    """Nobody listens."""
    raise httpx.ConnectError("connection refused by 127.0.0.1:8081", request=request)


@dataclass
class Cascade:
    """A cascade that serves."""

    client: httpx.AsyncClient
    port: int
    settings: gateway.settings.Settings
    router_settings: router_svc.settings.Settings
    router: Line
    ranker: Line
    good: bytes
    server: TestedServer
    app: Any = field(repr=False, default=None)

    async def send(self, video: bytes | None = None, request: str | bytes | None = None, **headers: str) -> Any:
        """One upload; the good video where none is given."""
        files: dict[str, Any] = {"video": ("clip.mp4", self.good if video is None else video, "video/mp4")}
        if request is not None:
            files["request"] = (None, request, "application/json")
        return await self.client.post("/v1/decisions", files=files, headers=headers)

    async def decide(self, video: bytes | None = None, mode: str = "cascade", **headers: str) -> Decision:
        """A decision, and nothing but one."""
        response = await self.send(video, f'{{"mode": "{mode}"}}', **headers)
        assert response.status_code == 200, response.text
        return Decision.model_validate_json(response.content)

    def spooled(self) -> list[Path]:
        """Files in the spools of gateway and router."""
        folders = (self.settings.spool_path, self.router_settings.spool_dir)
        return [path for folder in folders if folder.exists() for path in folder.iterdir()]

    async def refuses(self, response: httpx.Response, status: int, code: str) -> Problem:
        """The answer is this error and tells nothing else; afterwards the cascade is as before."""
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
        problem = problem_of(response)
        await self.is_well()
        return problem

    async def is_well(self) -> None:
        """No file is left, no place is taken, and a good video is decided by the whole cascade."""
        await until(lambda: not self.spooled())
        await until(lambda: not self.app.state.admission.taken)
        decision = await self.decide(mode="full")
        assert (decision.route, decision.rank_missing) == ("refined", None)
        assert self.spooled() == []

    async def metric(self, line: str) -> float:
        """A sample of the gateway's metrics; 0 where it is absent."""
        for each in (await self.client.get("/metrics")).text.splitlines():
            if each.startswith(line + " "):
                return float(each.rsplit(" ", 1)[1])
        return 0.0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection to the gateway."""
        return await asyncio.open_connection("127.0.0.1", self.port)


def problem_of(response: httpx.Response) -> Problem:
    """The problem in an answer, whose form is checked."""
    problem = Problem.model_validate_json(response.content)
    assert set(response.json()) == set(Problem.model_fields)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem.status == response.status_code
    assert problem.request_id == response.headers["X-Request-Id"]
    assert problem.type == f"urn:winnow:error:{problem.code}"
    assert problem.detail
    assert problem.title
    assert not INTERNALS.search(response.text), response.text
    return problem


async def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return once it holds."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    folder: Path,
    good: bytes,
    *,
    gateway_settings: dict[str, Any] | None = None,
    router_settings: dict[str, Any] | None = None,
    ranker_settings: dict[str, Any] | None = None,
    store: Any = None,
    router_network: bool = False,
    ranker_network: bool = False,
    engine_s: float = 0.0,
) -> AsyncIterator[Cascade]:
    """A cascade in `folder` whose bank knows `good` as a seed of arson.

    Args:
        folder: of data and policy.
        good: the bytes of a video that can be decoded.
        gateway_settings: changes to the gateway's settings; of the others likewise.
        store: keeps decisions instead of SQLite.
        router_network: the gateway's calls to the router go over the network, to the `router_url` of its settings.
        ranker_network: the same for the router's calls to the ranker.
        engine_s: seconds that the ranker's engine takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (folder / "seed.mp4").write_bytes(good)
    async with AsyncExitStack() as stack:
        ranker = await _serve(
            stack,
            ranker_svc.app.create_app(
                ranker_svc.settings.Settings(**{"data_dir": folder / "ranker", **(ranker_settings or {})}),
                engine=lambda: DeterministicEngine(seconds=engine_s),
            ),
        )
        router_given = router_svc.settings.Settings(
            **{
                "data_dir": folder / "router",
                "encoder_model": "hash",
                "decode_workers": 1,
                "decode_timeout_s": 3.0,
                "max_video_bytes": MAX_VIDEO,
                "ranker_urls": ("http://ranker",),
                **(router_settings or {}),
            }
        )
        parts = router_svc.app.Parts(
            encoder=lambda _: HashEncoder(),
            index=lambda encoder: MemoryIndex(encoder.fingerprint, encoder.dim),
            ranker_transport=None if ranker_network else ranker,
            decode=by_content,
        )
        router = await _serve(stack, router_svc.app.create_app(router_given, parts))
        async with RouterClient("http://router", transport=router.real) as seeding:
            await seeding.add_seed(folder / "seed.mp4", SeedRequest(issue="arson"), Deadline.after(30))
        given = gateway.settings.Settings(
            **{
                "data_dir": folder / "gateway",
                "policy_path": folder / "policy.yaml",
                "router_attempts": 1,
                "spool_min_free_bytes": 0,
                "readiness_ttl_s": 0.0,
                "cache_ttl_s": 0.0,
                "max_video_bytes": MAX_VIDEO,
                "max_json_bytes": MAX_JSON,
                "shutdown_grace_s": 0.0,
                **(gateway_settings or {}),
            }
        )
        app = gateway.app.create_app(given, router_transport=None if router_network else router, store=store)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        server = TestedServer(app, given)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started or serving.done())
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0))
        try:
            yield Cascade(client, port, given, router_given, router, ranker, good, server, app)
        finally:
            await client.aclose()
            server.should_exit = True
            await serving


async def _serve(stack: AsyncExitStack, app: Any) -> Line:
    state = await stack.enter_async_context(app.router.lifespan_context(app))
    return Line(httpx.ASGITransport(WithState(app, dict(state))))
