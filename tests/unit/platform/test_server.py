"""The platform behind a real server: what a client sees that is refused while it is still sending."""

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from services.clients import http
from services.deadline import Deadline
from services.web import server as server_module
from tests.unit.platform.conftest import FORM, MAX_VIDEO, Service, part
from tests.web import serving


async def large() -> AsyncIterator[bytes]:
    yield part("video", b"")[:-2]
    for _ in range(400):
        yield b"x" * 100_000


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_upload_gets_its_413_while_it_is_sent(service: Service, announced: bool) -> None:
    headers = {**FORM, "Content-Length": str(len(part("video", b"")) - 2 + 40_000_000)} if announced else FORM
    assert MAX_VIDEO < 40_000_000
    async with serving(service.app, lifespan="off") as url, http.make_client(url) as client:
        answer = await http.call(
            client, "POST", "/v1/uploads", deadline=Deadline.after(20), content=large(), headers=headers
        )
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert (await http.call(client, "GET", "/v1/items/1", deadline=Deadline.after(5))).status_code == 200
    assert service.spooled() == []


async def test_an_answer_is_not_held_back_until_its_head_is_acknowledged() -> None:
    """Nagle's algorithm and a client's delayed acknowledgement cost 40 ms with every request on a kept connection."""
    delays: list[int] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        delays.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = server_module.bind("127.0.0.1", 0)
    async with await asyncio.start_server(note, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        await reader.read()
        writer.close()
    assert delays == [1]


async def test_a_client_that_hangs_up_leaves_nothing(service: Service) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield part("video", b"x" * 2_000_000)[:-2]
        raise httpx.WriteError("gone")

    async with serving(service.app, lifespan="off") as url:
        async with http.make_client(url) as client:
            with pytest.raises(http.CallFailed):
                await http.call(client, "POST", "/v1/uploads", deadline=Deadline.after(5), content=cut(), headers=FORM)
        for _ in range(100):
            if service.sample("winnow_http_requests_total", method="POST", route="/v1/uploads", status="499"):
                break
            await asyncio.sleep(0.02)
        assert service.sample("winnow_http_requests_total", method="POST", route="/v1/uploads", status="499") == 1
    assert service.spooled() == []
