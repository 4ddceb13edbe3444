"""Gateways for operators: on a stand-in router for what concerns the gateway alone, else on a real router."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest

import gateway.app
import gateway.settings
import router_svc.app
import router_svc.settings
from router_svc.bank.memory import MemoryIndex
from router_svc.parts import Parts
from services.contracts import Seed
from services.encoder import HashEncoder
from tests.integration.gateway.conftest import source, start
from tests.integration.router.conftest import WithState
from tests.media_factory import BLUE, GREEN, RED, flat, render

__all__ = ["source", "start"]

POLICY = """
name: seeds
version: "1"
fail_modes: {ranker_missing: review, router_missing: block}
defaults:
  router: {threshold: 0.95}
  actions: {review: 0.4, block: 0.8}
issues:
  - {id: arson, name: arson, definition: Fire at a house.}
  - {id: smoking, name: smoking, definition: A cigarette.}
"""


class WordedEncoder(HashEncoder):
    """Knows sentences as well: each is a vector of its own."""

    supports_text = True

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = [np.random.default_rng(list(text.encode())).standard_normal(self.dim) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


@dataclass
class Network(httpx.AsyncBaseTransport):
    """What lies between gateway and router: notes what passes; `answer`, where it is set, is given instead,
    and nothing passes before `held` is set."""

    real: httpx.AsyncBaseTransport
    answer: httpx.Response | Exception | None = None
    asked: list[httpx.Request] = field(default_factory=list)
    held: asyncio.Event | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.held is not None:
            await self.held.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or await self.real.handle_async_request(request)


@dataclass
class Desk:
    """A gateway before a real router."""

    client: httpx.AsyncClient
    network: Network
    settings: gateway.settings.Settings

    async def upload(self, video: Path, request: str = '{"issue": "arson"}', **headers: str) -> httpx.Response:
        """A seed from a video that is sent."""
        parts: dict[str, Any] = {
            "request": (None, request, "application/json"),
            "video": ("clip.mp4", video.read_bytes(), "video/mp4"),
        }
        return await self.client.post("/v1/seeds", files=parts, headers=headers)

    async def seed(self, video: Path, request: str = '{"issue": "arson"}') -> Seed:
        """A seed that is there, whether or not it was before."""
        response = await self.upload(video, request)
        assert response.status_code in (200, 201), response.text
        return Seed.model_validate_json(response.content)

    def spooled(self) -> list[Path]:
        return list(self.settings.spool_path.iterdir())


NOWHERE = "0" * 32


def refused(response: httpx.Response, status: int, code: str) -> str:
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), response.text
    return str(problem["detail"])


def seed_of(response: httpx.Response, status: int = 200) -> Seed:
    assert response.status_code == status, response.text
    seed = Seed.model_validate_json(response.content)
    assert response.headers["ETag"] == f'"{seed.version}"'
    return seed


def clip(start_s: float, issue: str = "arson", **more: Any) -> str:
    """A segment of its own for each test: the same one is the same seed."""
    return json.dumps({"issue": issue, "start_s": start_s, **more})


Before = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Videos of three seconds and of one colour."""
    folder = tmp_path_factory.mktemp("clips")
    return {
        "red": render(folder / "red.mp4", lambda _: flat(RED), frames=24),
        "green": render(folder / "green.mp4", lambda _: flat(GREEN), frames=24),
        "blue": render(folder / "blue.mp4", lambda _: flat(BLUE), frames=24),
    }


@pytest.fixture(scope="module")
async def before(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Before]:
    """Starts gateways before one router, which the tests of a module share; keyword arguments are settings."""
    folder = tmp_path_factory.mktemp("router")
    settings = router_svc.settings.Settings(
        data_dir=folder, encoder_model="hash", decode_workers=1, service_token="right", seed_count_s=0.1
    )
    parts = Parts(
        encoder=lambda _: WordedEncoder(), index=lambda encoder: MemoryIndex(encoder.fingerprint, encoder.dim)
    )
    app = router_svc.app.create_app(settings, parts)

    @asynccontextmanager
    async def starting(resolver: Any = None, **given: Any) -> AsyncIterator[Desk]:
        data = tmp_path_factory.mktemp("gateway")
        (data / "policy.yaml").write_text(POLICY, encoding="utf-8")
        chosen = gateway.settings.Settings(
            **{
                "data_dir": data,
                "policy_path": data / "policy.yaml",
                "router_token": "right",
                "router_attempts": 1,
                "spool_min_free_bytes": 0,
                "evidence_min_free_bytes": 0,
                "cache_ttl_s": 0.0,
                **given,
            }
        )
        network = Network(httpx.ASGITransport(WithState(app, dict(state))))
        own = gateway.app.create_app(chosen, router_transport=network, resolver=resolver)
        async with own.router.lifespan_context(own) as running:
            transport = httpx.ASGITransport(WithState(own, dict(running)))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                yield Desk(client, network, chosen)

    async with app.router.lifespan_context(app) as state:
        yield starting


@pytest.fixture(scope="module")
async def desk(before: Before) -> AsyncIterator[Desk]:
    """A gateway that serves this machine alone, shared by the tests of a module."""
    async with before() as started:
        yield started


@pytest.fixture(autouse=True)
def _mended(request: pytest.FixtureRequest) -> None:
    """Mend the network that the test before cut."""
    if "desk" in request.fixturenames:
        network: Network = request.getfixturevalue("desk").network
        network.answer = None
        network.asked.clear()
