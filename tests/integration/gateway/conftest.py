"""A real gateway on SQLite, asked over ASGI, with a stand-in router behind it whose judgement is set by the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from gateway.app import create_app
from gateway.settings import Settings
from services.contracts import (
    Health,
    IssueRank,
    IssueRisk,
    MediaFacts,
    ModelIdentity,
    RankResult,
    RouteRequest,
    RouteResult,
    RouterState,
    SeedMatch,
    Timings,
)
from services.errors import WinnowError
from services.web import parse_part, receive_upload
from tests.integration.gateway.source import VIDEO, Source, serving

POLICY = """
name: test
version: "1"
fail_modes: {ranker_missing: review, router_missing: block}
defaults:
  router: {threshold: 0.5}
  actions: {review: 0.4, block: 0.8}
issues:
  - {id: arson, name: arson, definition: Fire at a house., router: {ask_with: [smoking]}}
  - {id: smoking, name: smoking, definition: A cigarette., ranker_missing: allow}
"""


RANKER = ModelIdentity(name="m", fingerprint="rank-print", engine="reference", configuration="ranker-1")
LIVE = RouterState(encoder="enc-print", bank_revision="rev-1", configuration="configuration-1", ranker=RANKER)
"""What the stand-in's results are made under."""


@dataclass
class StandInRouter:
    """The router's place: notes what it is asked, and answers what the test decided."""

    spool: Path
    risks: dict[str, float] = field(default_factory=lambda: {"arson": 0.1, "smoking": 0.1})
    ranks: dict[str, float] | None = None
    rank_missing: str | None = "not_escalated"
    state: RouterState | None = None
    state_asked: int = 0
    error: WinnowError | None = None
    delay_s: float = 0.0
    ready: bool = True
    asked: list[tuple[RouteRequest, bytes, dict[str, str]]] = field(default_factory=list)
    cancelled: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/route")
        async def route(request: Request) -> Response:
            upload = await receive_upload(
                request, spool_dir=self.spool, max_video_bytes=10**9, max_json_bytes=10**6, timeout_s=10
            )
            async with upload:
                asked = parse_part(RouteRequest, upload.json)
                self.asked.append((asked, upload.path.read_bytes(), dict(request.headers)))
            self.started.set()
            try:
                await asyncio.sleep(self.delay_s)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if self.error is not None:
                problem = self.error.problem("r")
                return Response(problem.model_dump_json(), problem.status, media_type="application/problem+json")
            return Response(self.result(asked).model_dump_json(), media_type="application/json")

        @app.get("/v1/state")
        async def state() -> Response:
            self.state_asked += 1
            if self.state is None:
                return Response(status_code=404)
            return Response(self.state.model_dump_json(), media_type="application/json")

        @app.get("/health/ready")
        async def ready(response: Response) -> Health:
            response.status_code = 200 if self.ready else 503
            return Health(status="ok") if self.ready else Health(status="unavailable", missing={"bank": "loading"})

        return app

    def result(self, asked: RouteRequest) -> RouteResult:
        match = SeedMatch(seed_id="s1", kind="golden", similarity=0.8, frame_time_s=1.5)
        ids = [issue.id for issue in asked.policy.issues]
        rank = None
        if self.ranks is not None:
            rank = RankResult(
                issues=tuple(
                    IssueRank(id=each, prompt="P2", answers=(), score=p, probability=p, calibrator="cal-1")
                    for each, p in self.ranks.items()
                ),
                model=RANKER,
                warnings=("calibrator fitted for another model",),
                timings=Timings(stages={"prefill": 0.2}),
            )
        return RouteResult(
            media=MediaFacts(
                duration_s=3.0,
                width=160,
                height=160,
                fps=8.0,
                video_codec="h264",
                container="mov",
                has_audio=False,
                size_bytes=9,
            ),
            frame_times_s=(0.0, 1.5),
            encoder="enc-print",
            bank_revision="rev-1",
            configuration="configuration-1",
            issues=tuple(
                IssueRisk(id=i, risk=r, threshold=0.5, escalated=r >= 0.5, matches=(match,))
                for i, r in self.risks.items()
                if i in ids
            ),
            rank=rank,
            rank_missing=None if rank is not None else self.rank_missing,
            warnings=("issue `theft` has no seeds",),
            timings=Timings(stages={"decode": 0.1}),
        )


class Unreachable(httpx.AsyncBaseTransport):
    """A network on which nobody listens."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)


@dataclass
class Running:
    """A gateway that serves, its client, and what stands behind it."""

    client: httpx.AsyncClient
    router: StandInRouter
    settings: Settings
    app: FastAPI
    serve: ASGIApp
    stop: Callable[[], Awaitable[None]]

    async def moderate(self, video: bytes = b"a video", request: str | None = None, **headers: str) -> httpx.Response:
        files: dict[str, Any] = {"video": ("clip.mp4", video, "video/mp4")}
        if request is not None:
            files["request"] = (None, request, "application/json")
        return await self.client.post("/v1/decisions", files=files, headers=headers)

    def spooled(self) -> list[Path]:
        return list(self.settings.spool_path.iterdir())

    async def metric(self, line: str) -> float:
        for each in (await self.client.get("/metrics")).text.splitlines():
            if each.startswith(line + " "):
                return float(each.rsplit(" ", 1)[1])
        return 0.0


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts gateways; keyword arguments are settings, `reachable=False` leaves the router out."""
    async with AsyncExitStack() as stack:

        async def starting(
            *, reachable: bool = True, store: Any = None, resolver: Any = None, **settings: Any
        ) -> Running:
            policy = tmp_path / "policy.yaml"
            policy.write_text(POLICY, encoding="utf-8")
            given = Settings(
                **{
                    "data_dir": tmp_path / "data",
                    "policy_path": policy,
                    "router_attempts": 1,
                    "spool_min_free_bytes": 0,
                    "readiness_ttl_s": 0.0,
                    **settings,
                }
            )
            router = StandInRouter(tmp_path / "router-spool")
            backend = httpx.ASGITransport(router.app()) if reachable else Unreachable()
            app = create_app(given, router_transport=backend, store=store, resolver=resolver)
            own = await stack.enter_async_context(AsyncExitStack())
            state = await own.enter_async_context(app.router.lifespan_context(app))
            serve = _with_state(app, state)
            transport = httpx.ASGITransport(serve)
            client = await own.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://localhost"))
            return Running(client, router, given, app, serve, own.aclose)

        yield starting


def _with_state(app: FastAPI, state: Any) -> Any:
    """Hand the lifespan's state to every request, as a server does."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return serve


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    """A server that has one video."""
    async with serving() as server:
        server.video("/v.mp4", VIDEO)
        yield server


@pytest.fixture
async def gateway(start: Start) -> Running:
    running = await start()
    assert isinstance(running, Running)
    return running
