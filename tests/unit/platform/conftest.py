"""A small service with one route for everything that the platform promises, and ways to call it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header, Request
from prometheus_client import CollectorRegistry
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.contracts import RequestModel, ResultModel
from services.deadline import DEADLINE_HEADER, Deadline
from services.errors import Overloaded, UnknownIssue
from services.settings import InternalSettings
from services.telemetry import trace
from services.telemetry.metrics import HttpMetrics
from services.web import PROBLEM_RESPONSES, Admission, create_service_app, parse_part, receive_upload

MAX_VIDEO = 3_000_000
MAX_JSON = 1_000


class Settings(InternalSettings):
    model_config = SettingsConfigDict(env_prefix="WINNOW_SAMPLE_")
    port: int = 0


class Note(RequestModel):
    title: str = Field(max_length=10)
    count: int = 0


class Stored(ResultModel):
    size: int
    sha256: str
    filename: str | None
    note: Note | None
    remaining_s: float
    trace_id: str


@dataclass
class Service:
    app: FastAPI
    metrics: HttpMetrics
    spool: Path
    missing: dict[str, str] = field(default_factory=dict)
    last_upload: bytes = b""

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://service", **options)

    def spooled(self) -> list[Path]:
        return list(self.spool.glob("*"))

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"service": "sample", **labels}) or 0.0


@asynccontextmanager
async def no_lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {}


def build(spool: Path, *, token: str | None = None, upload_timeout_s: float = 5.0, **settings: Any) -> Service:
    secret = None if token is None else SecretStr(token)
    configured = Settings(service_token=secret, max_body_bytes=2_000, body_timeout_s=0.2, **settings)
    metrics = HttpMetrics(CollectorRegistry(), "sample")
    service = Service(app=FastAPI(), metrics=metrics, spool=spool)

    async def readiness(_: Request) -> dict[str, str]:
        if "explode" in service.missing:
            raise RuntimeError("secret reason")
        return service.missing

    app = create_service_app(
        title="Sample",
        description="",
        settings=configured,
        metrics=metrics,
        admission=Admission(8, service="sample", retry_after_s=1.0),
        lifespan=no_lifespan,
        readiness=readiness,
    )
    service.app = app

    @app.get("/v1/items/{item}", responses=PROBLEM_RESPONSES(UnknownIssue, Overloaded))
    async def item(item: int) -> dict[str, int]:
        if item == 0:
            raise UnknownIssue("There is no issue 0.")
        if item == 429:
            raise Overloaded("Too much.", retry_after_s=1.2)
        return {"item": item}

    @app.post("/v1/notes")
    async def notes(note: Note) -> Note:
        return note

    @app.post("/v1/patient")
    async def patient(request: Request) -> str:
        await request.body()
        try:
            # Longer than body_timeout_s: the body is there, so that limit is over.
            return str((await asyncio.wait_for(request.receive(), timeout=0.3))["type"])
        except TimeoutError:
            return "still there"

    @app.get("/v1/boom")
    async def boom() -> None:
        raise RuntimeError("the password is hunter2")

    @app.post("/v1/uploads")
    async def uploads(
        request: Request, deadline_ms: Annotated[str | None, Header(alias=DEADLINE_HEADER)] = None
    ) -> Stored:
        upload = await receive_upload(
            request,
            spool_dir=spool,
            max_video_bytes=MAX_VIDEO,
            max_json_bytes=MAX_JSON,
            timeout_s=upload_timeout_s,
        )
        async with upload:
            deadline = Deadline.from_header(deadline_ms, default_s=30, max_s=60)
            deadline.check()
            service.last_upload = upload.path.read_bytes()
            return Stored(
                size=upload.size,
                sha256=upload.sha256,
                filename=upload.filename,
                note=None if upload.json is None else parse_part(Note, upload.json),
                remaining_s=deadline.remaining(),
                trace_id=trace.current().trace_id,
            )

    return service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return build(tmp_path / "spool")


Message = dict[str, Any]


async def raw_call(
    app: Callable[..., Awaitable[None]],
    messages: list[Message | float],
    *,
    path: str = "/v1/uploads",
    headers: dict[str, str] | None = None,
) -> list[Message]:
    """Drive an app below HTTP: `messages` are what it receives; a number is a pause in seconds."""
    sent: list[Message] = []
    queue = list(messages)

    async def receive() -> Message:
        while queue:
            match queue.pop(0):
                case dict() as message:
                    return message
                case pause:
                    await asyncio.sleep(pause)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("service", 80),
    }
    await asyncio.wait_for(app(scope, receive, send), timeout=5)
    return sent


def part(name: str, data: bytes, *, filename: str | None = None, boundary: str = "b") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + data + b"\r\n"


FORM = {"Content-Type": "multipart/form-data; boundary=b"}
END = b"--b--\r\n"
