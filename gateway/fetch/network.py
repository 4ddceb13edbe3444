"""The network below the guard: names looked up by us, connections to checked addresses alone, bytes counted."""

import asyncio
import re
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from ssl import SSLContext
from threading import Thread
from typing import Any, Protocol

import anyio
import httpcore

_LOOKUPS_AT_ONCE = 8
_ADDRESSES_TRIED = 4
_BLANK_LINE = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/[0-9.]+ 1[0-9][0-9][ \r\n]")


class HostUnknown(Exception):
    """There is no address for a name."""


class LookupFailed(Exception):
    """The name service is in trouble; it may recover."""


class Resolver(Protocol):
    """Looks names up."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name, best first; at least one.

        Raises:
            HostUnknown: there is none.
            LookupFailed: nobody can say now.
        """


class SystemResolver:
    """The operating system's own lookup, in threads that nothing waits for, the end of the process included.

    A lookup cannot be broken off: a slow name server holds one of a few places until it answers.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name, in the order of RFC 6724."""
        try:
            found = await self._in_thread(host, port)
        except socket.gaierror as error:
            if error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}:
                raise HostUnknown from error
            raise LookupFailed from error
        except UnicodeError as error:
            raise HostUnknown from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    async def _in_thread(self, host: str, port: int) -> Sequence[tuple[Any, ...]]:
        loop = asyncio.get_running_loop()
        outcome: Future[Sequence[tuple[Any, ...]]] = Future()
        outcome.set_running_or_notify_cancel()

        def work() -> None:
            try:
                outcome.set_result(_look_up(host, port))
            except Exception as error:
                outcome.set_exception(error)
            finally:
                with suppress(RuntimeError):  # the loop may have ended meanwhile
                    loop.call_soon_threadsafe(self._places.release)

        await self._places.acquire()
        # An executor's threads are waited for when Python ends, a daemon is not.
        Thread(target=work, name="lookup", daemon=True).start()
        return await asyncio.wrap_future(outcome)


def _look_up(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the given addresses, whatever host it is asked for: checked and used are one and the same.

    Args:
        addresses: that were checked, in the order in which they are tried.
        connect_timeout_s: seconds for all of them together.
    """

    def __init__(self, addresses: Sequence[str], *, connect_timeout_s: float) -> None:
        self._addresses = addresses[:_ADDRESSES_TRIED]
        self._timeout_s = connect_timeout_s
        self._network = httpcore.AnyIOBackend()
        self.stream: CountingStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one."""
        ends_at = anyio.current_time() + self._timeout_s
        for index, address in enumerate(self._addresses, start=1):
            # An address that swallows packets leaves the next ones their share of the time.
            share_s = max(0.0, ends_at - anyio.current_time()) / (len(self._addresses) + 1 - index)
            try:
                connected = await self._network.connect_tcp(address, port, timeout=share_s)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if index == len(self._addresses):
                    raise
            else:
                self.stream = CountingStream(connected)
                return self.stream
        raise httpcore.ConnectError("no address")

    async def aclose(self) -> None:
        """Close the connection, also where a cancelled handshake left it open."""
        if self.stream is not None:
            with anyio.CancelScope(shield=True):
                await self.stream.aclose()


class CountingStream(httpcore.AsyncNetworkStream):
    """A connection that knows how many bytes came after the headers of the response."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._head: bytearray | None = bytearray()
        self.after_head = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes; none at the end."""
        data = await self._stream.read(max_bytes, timeout)
        if self._head is None:
            self.after_head += len(data)
            return data
        # httpcore refuses headers beyond 100 KiB, so this cannot grow.
        # What was searched is not searched again: a head may come byte by byte.
        start = max(0, len(self._head) - 2)
        self._head += data
        while self._head is not None and (end := _BLANK_LINE.search(self._head, start)):
            start = 0
            rest = self._head[end.end() :]
            self._head = rest if _INTERIM.match(self._head) else None
            self.after_head = len(rest)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection; nothing happens the second time."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Encrypt the connection; the count goes on with what is inside."""
        self._stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return self

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks about a connection."""
        return self._stream.get_extra_info(info)
