"""Bytes on a socket: requests that no decent client sends, and servers that lie."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

BOUNDARY = "b"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
END = f"--{BOUNDARY}--\r\n".encode()


def part(name: str, data: bytes, *, filename: str | None = None, headers: str = "") -> bytes:
    """One part of a multipart body."""
    file = f'; filename="{filename}"' if filename else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{headers}\r\n'
    return head.encode() + data + b"\r\n"


def video(data: bytes) -> bytes:
    """The part of the video."""
    return part("video", data, filename="clip.mp4")


def head(length: int | str | None, *, headers: str = "", content_type: str = FORM) -> bytes:
    """Request line and headers of an upload; `length` None: in chunks."""
    announced = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    first = f"POST /v1/decisions HTTP/1.1\r\nHost: localhost\r\n{announced}\r\n"
    return f"{first}Content-Type: {content_type}\r\n{headers}\r\n".encode("latin-1")


async def answer(reader: asyncio.StreamReader, seconds: float = 30.0) -> httpx.Response:
    """The first response on a connection, read by its Content-Length."""
    async with asyncio.timeout(seconds):
        block = await reader.readuntil(b"\r\n\r\n")
        status, *lines = block.decode("latin-1").split("\r\n")[:-2]
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = int({name.lower(): value for name, value in headers}.get("content-length", 0))
        body = await reader.readexactly(length)
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once, whatever is still to be sent."""
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


@dataclass
class Liar:
    """A server that answers what it is told, so many times over, whatever it is asked."""

    says: bytes = b""
    repeats: int = 1
    asked: int = 0
    said: int = 0
    url: str = ""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await reader.readuntil(b"\r\n\r\n")
        drain = asyncio.create_task(_drain(reader))
        self.tasks.add(drain)
        await asyncio.sleep(0.05)
        try:
            for _ in range(self.repeats):
                writer.write(self.says)
                await writer.drain()
                self.said += 1
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass
        drain.cancel()


async def _drain(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65_536):
            pass
    except ConnectionError:
        pass


@asynccontextmanager
async def lying() -> AsyncIterator[Liar]:
    """A liar that listens."""
    liar = Liar()
    server = await asyncio.start_server(liar.serve, "127.0.0.1", 0)
    liar.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield liar
    finally:
        server.close()
        for task in liar.tasks:
            task.cancel()
        await asyncio.gather(*liar.tasks, return_exceptions=True)


def http_answer(
    status: str, body: bytes, *, content_type: str = "application/json", length: int | None = None
) -> bytes:
    """A whole HTTP response; `length` may say something else than the body's."""
    announced = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {announced}\r\n\r\n".encode() + body
