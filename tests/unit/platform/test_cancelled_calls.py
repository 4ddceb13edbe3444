"""Calls that are cancelled, over real connections: the server sees it, and the pool has its place back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from services.clients import RankerClient, http
from services.clients.replicas import CoolDown
from services.contracts import RankRequest
from services.deadline import Deadline
from services.errors import DeadlineExceeded

REQUEST = RankRequest.model_validate(
    {"frames": [{"time_s": 0.0, "jpeg": "/9j/"}], "issues": [{"id": "arson", "name": "arson", "definition": "Fire."}]}
)


class Silent:
    """A server that reads and never answers; it counts the connections that are there."""

    def __init__(self) -> None:
        self.url = ""
        self.open = 0
        self.seen = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.seen += 1
        while await reader.read(65536):
            pass
        self.open -= 1
        writer.close()

    async def all_left(self) -> None:
        async with asyncio.timeout(5.0):
            while self.open:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def silent() -> AsyncIterator[Silent]:
    server = Silent()
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    async with listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


async def nested(client: httpx.AsyncClient, deadline: Deadline) -> None:
    async with deadline.limit(), deadline.limit():
        await http.call(client, "GET", "/", deadline=deadline)


async def in_a_group(client: httpx.AsyncClient, deadline: Deadline) -> None:
    try:
        async with deadline.limit(), asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(http.call(client, "GET", "/", deadline=deadline))
    except* DeadlineExceeded as errors:
        raise errors.exceptions[0] from errors


async def cancelled_again_and_again(client: httpx.AsyncClient, deadline: Deadline) -> None:
    call = asyncio.create_task(http.call(client, "GET", "/", deadline=deadline))
    await asyncio.wait([call], timeout=deadline.remaining() - 0.02)
    while not call.done():
        call.cancel()
        await asyncio.sleep(0)
    raise DeadlineExceeded("The test has cancelled it.")


@pytest.mark.parametrize("ask", [nested, in_a_group, cancelled_again_and_again])
async def test_every_connection_is_closed_whoever_cancels(
    ask: Callable[[httpx.AsyncClient, Deadline], Awaitable[None]],
) -> None:
    async with silent() as server:
        client = http.make_client(server.url, max_connections=4)
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                await ask(client, Deadline.after(0.1))
            await server.all_left()
        # All places of the pool are free again.
        before = server.seen
        with pytest.raises(DeadlineExceeded):
            await in_a_group(client, Deadline.after(0.3))
        assert server.seen == before + 4
        await server.all_left()
        await client.aclose()


async def test_the_circuit_of_a_replica_counts_deadlines_that_the_caller_limits_too() -> None:
    async with silent() as server, RankerClient([server.url], cool_down=CoolDown(faults=3)) as client:
        for _ in range(3):
            assert set(client.circuits().values()) == {"closed"}
            deadline = Deadline.after(0.1)
            with pytest.raises(DeadlineExceeded):
                async with deadline.limit():
                    await client.rank(REQUEST, deadline)
        assert set(client.circuits().values()) == {"open"}
