"""Servers of videos that behave as the test says, over real sockets, and a name service that says what it likes."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from gateway.fetch.network import HostUnknown

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import Running, Start

VIDEO = b"frames " * 40_000
LOOPBACK = "127.0.0.1/32"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Source:
    """One server: what it answers to each path, and what it was asked."""

    host: str
    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/v.mp4", *, scheme: str = "http", host: str | None = None) -> str:
        named = host or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{scheme}://{named}:{self.port}{path}"

    def serve(self, path: str, *parts: bytes, pause_s: float = 0.0, hold: bool = False) -> str:
        """Answer a path with raw bytes, a pause before each part but the first; with `hold`, never end by itself."""

        async def answer(writer: asyncio.StreamWriter) -> None:
            for index, part in enumerate(parts):
                if index:
                    await asyncio.sleep(pause_s)
                writer.write(part)
                await writer.drain()
            if hold:
                await asyncio.sleep(60)

        self.answers[path] = answer
        return self.url(path)

    def video(self, path: str, body: bytes, *headers: str, status: str = "200 OK") -> str:
        """Answer a path with a response; its length and type are added where no header says otherwise."""
        given = {line.partition(":")[0].lower() for line in headers}
        added = [
            line
            for line in (f"Content-Length: {len(body)}", "Content-Type: video/mp4")
            if line.partition(":")[0].lower() not in given
        ]
        head = "\r\n".join([f"HTTP/1.1 {status}", *headers, *added])
        return self.serve(path, f"{head}\r\n\r\n".encode() + body)

    def redirect(self, path: str, to: str, status: str = "302 Found") -> str:
        return self.video(path, b"", f"Location: {to}", status=status)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(request)
            await self.answers[request.split(" ", 2)[1].partition("?")[0]](writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    host: str = "127.0.0.1", *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Source]:
    """A server on a loopback address."""
    source = Source(host)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(source.handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, host, port, ssl=tls)
    source.port = server.sockets[0].getsockname()[1]
    try:
        yield source
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@dataclass
class Names:
    """A name service: for each name its answers in turn, the last one for ever; an unknown name is not there."""

    answers: Mapping[str, Sequence[Sequence[str]]]
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        turn = self.asked.count(host)
        self.asked.append(host)
        if host not in self.answers:
            raise HostUnknown
        answers = self.answers[host]
        return answers[min(turn, len(answers) - 1)]


async def ask(running: "Running", url: str, **body: Any) -> httpx.Response:
    return await running.client.post("/v1/decisions", json={"url": url, **body})


def assert_refused(running: "Running", response: httpx.Response, status: int, code: str) -> None:
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert "127.0.0" not in response.text
    assert "::1" not in response.text
    assert running.spooled() == []
    assert running.router.asked == []


async def fetching(start: "Start", source: Source, **settings: Any) -> "Running":
    """A gateway that may fetch from the server, on 127.0.0.1 alone."""
    given = {"fetch_networks": LOOPBACK, "fetch_ports": f"80,443,{source.port}", "fetch_stall_s": 0.4}
    running: Running = await start(**{**given, **settings})
    return running
