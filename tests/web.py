"""Web applications served by uvicorn inside the tests' process."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

import uvicorn

from services.web.server import ServiceServer
from tests.servers import free_port


class WithoutSignals:
    """For a server of uvicorn's inside a process of tests: it leaves signals to them.

    Of two servers in one event loop, the one that ends last would leave a handler of the other's behind, and the
    process would be deaf to SIGINT from then on.
    """

    def capture_signals(self) -> AbstractContextManager[None]:
        """Called by uvicorn around its serving."""
        return nullcontext()


class AppServer(WithoutSignals, uvicorn.Server):
    """One application on a free port of this machine.

    Args:
        app: an ASGI application.
        port: to listen on; a free one if None.
        options: of uvicorn.Config.
    """

    def __init__(self, app: Any, *, port: int | None = None, **options: Any) -> None:
        port = free_port() if port is None else port
        super().__init__(uvicorn.Config(app, port=port, **{"log_config": None, "ws": "none", **options}))
        self.url = f"http://127.0.0.1:{port}"


class TestedServer(WithoutSignals, ServiceServer):
    """A service as it is served, in a process of tests."""

    __test__ = False


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """The URL of an application that is served by this event loop for the block; connections are cut at its end."""
    server = AppServer(app, **options)
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not task.done(), "the server has not started"
            await asyncio.sleep(0.01)
        yield server.url
    finally:
        server.should_exit = server.force_exit = True
        await task


@contextmanager
def serving_in_thread(app: Any) -> Iterator[str]:
    """The URL of an application that is served by a thread for the block."""
    server = AppServer(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server has not started"
            time.sleep(0.01)
        yield server.url
    finally:
        server.should_exit = True
        thread.join()
