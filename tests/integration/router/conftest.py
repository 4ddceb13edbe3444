"""A real router, asked over ASGI: real decoder processes, real local Qdrant, and a ranker that says what it is told."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from router_svc.app import Parts, create_app
from router_svc.bank import MemoryIndex
from router_svc.pipeline import Pipeline
from router_svc.settings import Settings
from services.clients import RouterClient
from services.contracts import (
    IssuePolicy,
    IssueRank,
    ModelIdentity,
    PolicySlice,
    RankRequest,
    RankResult,
    RouteRequest,
)
from services.deadline import DEADLINE_HEADER, Deadline
from services.encoder import HashEncoder
from services.errors import WinnowError
from tests.media_factory import BLUE, GREEN, RED, flat, render


@dataclass
class StandInRanker:
    """The ranker's place: answers every question with one probability, or with an error."""

    probability: float = 0.7
    error: WinnowError | None = None
    asked: list[RankRequest] = field(default_factory=list)
    deadlines_ms: list[int] = field(default_factory=list)

    def transport(self) -> httpx.ASGITransport:
        app = FastAPI()

        @app.post("/v1/rank")
        async def rank(request: Request, body: RankRequest) -> Response:
            self.asked.append(body)
            self.deadlines_ms.append(int(request.headers[DEADLINE_HEADER]))
            if self.error is not None:
                problem = self.error.problem("r")
                return Response(problem.model_dump_json(), problem.status, media_type="application/problem+json")
            answer = RankResult(
                issues=tuple(
                    IssueRank(
                        id=issue.id,
                        prompt=issue.prompt,
                        answers=(),
                        score=self.probability,
                        probability=self.probability,
                        calibrator=None,
                    )
                    for issue in body.issues
                ),
                model=ModelIdentity(name="stand-in", fingerprint="0", engine="reference"),
            )
            return Response(answer.model_dump_json(), media_type="application/json")

        return httpx.ASGITransport(app)


class WithState:
    """Gives requests the state of the lifespan, as a server does; ASGITransport does not."""

    def __init__(self, app: FastAPI, state: dict[str, Any]) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "state": dict(self._state)}, receive, send)


@dataclass
class Running:
    """A router that runs."""

    client: RouterClient
    http: httpx.AsyncClient
    settings: Settings
    app: FastAPI
    pipeline: Pipeline


@asynccontextmanager
async def running(settings: Settings, parts: Parts) -> AsyncIterator[Running]:
    app = create_app(settings, parts)
    async with app.router.lifespan_context(app) as state:
        transport = httpx.ASGITransport(WithState(app, dict(state)))
        async with (
            RouterClient("http://router", transport=transport) as client,
            httpx.AsyncClient(transport=transport, base_url="http://router") as http,
        ):
            yield Running(client, http, settings, app, state["pipeline"])


def make_settings(data_dir: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "decode_workers": 1,
        "encoder_model": "hash",
        "ranker_urls": ("http://ranker",),
        **changes,
    }
    return Settings(**values)


def make_parts(ranker: StandInRanker, **changes: Any) -> Parts:
    return Parts(
        **{
            "encoder": lambda _: HashEncoder(),
            "index": lambda encoder: MemoryIndex(encoder.fingerprint, encoder.dim),
            "ranker_transport": ranker.transport(),
            **changes,
        }
    )


def policy(*ids: str, threshold: float = 0.95, ask_with: tuple[str, ...] = ()) -> PolicySlice:
    issues = tuple(
        IssuePolicy(id=each, name=each, definition=f"What {each} is.", router_threshold=threshold, ask_with=ask_with)
        for each in ids
    )
    return PolicySlice(policy_hash="0123456789ab", issues=issues)


def request_for(path: Path, slice_: PolicySlice, **changes: Any) -> RouteRequest:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return RouteRequest(**{"sha256": digest, "policy": slice_, **changes})


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(seconds)


@pytest.fixture
def ranker() -> StandInRanker:
    return StandInRanker()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Videos of one colour, and `late`: blue with red from 3 s to 4 s."""
    directory = tmp_path_factory.mktemp("clips")

    def late(index: int) -> Any:
        return flat(RED if 24 <= index < 32 else BLUE)

    return {
        "red": render(directory / "red.mp4", lambda _: flat(RED), frames=24),
        "green": render(directory / "green.mp4", lambda _: flat(GREEN), frames=24),
        "blue": render(directory / "blue.mp4", lambda _: flat(BLUE), frames=24),
        "late": render(directory / "late.mp4", late, frames=64, gop=8),
    }
