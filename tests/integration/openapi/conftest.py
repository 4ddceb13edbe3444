"""The three services on real sockets, in a thread, with small deterministic engines; one session shares them."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import gateway.app
import gateway.settings
import ranker_svc.app
import ranker_svc.settings
import router_svc.app
import router_svc.settings
from router_svc.bank.memory import MemoryIndex
from services.clients import RouterClient
from services.contracts import SeedRequest
from services.deadline import Deadline
from services.encoder import HashEncoder
from services.web.server import ServiceServer
from tests.integration.catalogue.cascade import POLICY
from tests.media_factory import RED, flat, render

START_S = 60.0


@dataclass(frozen=True)
class Served:
    """Where the services are, and a video that they can decode."""

    gateway: str
    router: str
    ranker: str
    video: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    video = render(folder / "clip.mp4", lambda _: flat(RED), frames=8)
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    urls = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    started, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, listeners, urls, video, started, stop)))
    thread.start()
    try:
        assert started.wait(START_S)
        yield Served(*urls, video=video)
    finally:
        stop.set()
        thread.join(START_S)
        for listener in listeners:
            listener.close()


async def _serve(
    folder: Path,
    listeners: list[socket.socket],
    urls: list[str],
    video: Path,
    started: threading.Event,
    stop: threading.Event,
) -> None:
    ranker_settings = ranker_svc.settings.Settings(data_dir=folder / "ranker", engine="deterministic")
    router_settings = router_svc.settings.Settings(
        data_dir=folder / "router", encoder_model="hash", decode_workers=1, ranker_urls=(urls[2],)
    )
    parts = router_svc.app.Parts(
        encoder=lambda _: HashEncoder(), index=lambda encoder: MemoryIndex(encoder.fingerprint, encoder.dim)
    )
    gateway_settings = gateway.settings.Settings(
        data_dir=folder / "gateway", policy_path=folder / "policy.yaml", router_url=urls[1], spool_min_free_bytes=0
    )
    servers = [
        ServiceServer(gateway.app.create_app(gateway_settings), gateway_settings),
        ServiceServer(router_svc.app.create_app(router_settings, parts), router_settings),
        ServiceServer(ranker_svc.app.create_app(ranker_settings), ranker_settings),
    ]
    async with AsyncExitStack() as stack:
        pairs = zip(servers, listeners, strict=True)
        tasks = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in pairs]
        stack.push_async_callback(asyncio.wait, tasks)
        for server in servers:
            stack.callback(setattr, server, "should_exit", True)
        while not all(server.started for server in servers):
            await asyncio.sleep(0.05)
        async with RouterClient(urls[1]) as router:
            await router.add_seed(video, SeedRequest(issue="arson"), Deadline.after(30))
        started.set()

        await asyncio.to_thread(stop.wait)
