"""Downloads a video into the spool: each redirect checked, headers judged first, size, time and pace bounded."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import httpx
from anyio import to_thread

from gateway.fetch.client import GuardedClient, Reply
from gateway.fetch.guard import redirected
from services.errors import (
    EmptyVideo,
    FetchFailed,
    FetchTimeout,
    SourceRefused,
    TooLarge,
    UnsupportedMedia,
    UrlRefused,
    WinnowError,
)
from services.web import StoredUpload, spool_file
from services.web.spool import SpoolFile

REDIRECTS = frozenset({301, 302, 303, 307, 308})
RECOVERABLE = frozenset({408, 425, 429})
"""Answers below 500 that a server may not repeat."""

UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/mp4"})
"""Content types besides `video/...` that videos are sent with."""

HEADERS = (("Accept", "video/*, application/octet-stream;q=0.9"), ("Accept-Encoding", "identity"))

PACE_BYTES = 64 * 1024
_WRITE_BYTES = 1024 * 1024
# 18 digits are an exabyte; h11 refuses longer ones.
_MAX_DIGITS = 18


@dataclass(frozen=True)
class Downloader:
    """Fetches videos through a guarded client.

    Attributes:
        client: sends the requests.
        max_bytes: of a video.
        timeout_s: seconds for everything, lookups and redirects included.
        stall_s: seconds in which each 64 KiB, or the rest, must arrive.
        max_redirects: that are followed.
    """

    client: GuardedClient
    max_bytes: int
    timeout_s: float
    stall_s: float
    max_redirects: int

    async def download(self, url: str, directory: Path, *, sized: Callable[[int], None]) -> StoredUpload:
        """The video behind a URL as a file in the directory; the caller deletes it.

        The file is removed on every failure, cancellation included.

        Args:
            url: of the video.
            directory: of the file; there must be room for `max_bytes` in it.
            sized: told how many bytes the video has, at most, as soon as the server says so.

        Raises:
            UrlRefused: the URL, or one that it redirects to, is not permitted.
            FetchFailed, FetchTimeout, SourceRefused: the server did not give the video.
            TooLarge, EmptyVideo, UnsupportedMedia: it gave something else, by its headers where they say so.
            StorageFull: the disk stopped the write.
        """
        target = self.client.check(url)
        timeout = asyncio.timeout(self.timeout_s)
        try:
            async with timeout, spool_file(directory) as file:
                for _ in range(self.max_redirects + 1):
                    async with self.client.send(target, headers=HEADERS) as reply:
                        location = reply.headers.get("Location") if reply.status in REDIRECTS else None
                        if location is None:
                            await self._store(reply, file, sized)
                            break
                    target = redirected(target, location, self.client.policy)
                else:
                    raise UrlRefused(f"The URL redirects more than {self.max_redirects} times.")
                return StoredUpload(file.path, file.digest.hexdigest(), file.size, filename=None, json=None)
        except TimeoutError as error:
            if timeout.expired():
                raise FetchTimeout(f"The video could not be fetched within {self.timeout_s:g} s.") from error
            raise

    async def _store(self, reply: Reply, file: SpoolFile, sized: Callable[[int], None]) -> None:
        announced = judge(reply.status, reply.headers, max_bytes=self.max_bytes)
        if announced is not None:
            sized(announced)
        await self._write(reply, file)
        if file.size == 0:
            raise EmptyVideo("The URL gives zero bytes.")
        if announced is not None and await reply.has_surplus(file.size):
            raise SourceRefused("The URL's server sent more bytes than it announced.")
        sized(file.size)

    async def _write(self, reply: Reply, file: SpoolFile) -> None:
        loop = asyncio.get_running_loop()
        pending = bytearray()
        received = paced = 0
        pace = asyncio.timeout(self.stall_s)
        try:
            async with pace, aclosing(reply.body()) as body:
                async for piece in body:
                    pending += piece
                    received += len(piece)
                    if received > self.max_bytes:
                        raise too_large(self.max_bytes)
                    if len(pending) >= _WRITE_BYTES:
                        await to_thread.run_sync(file.write, bytes(pending))
                        pending.clear()
                    if received - paced >= PACE_BYTES:
                        paced = received
                        pace.reschedule(loop.time() + self.stall_s)
        except TimeoutError as error:
            if pace.expired():
                raise FetchTimeout(f"The URL's server sent less than 64 KiB in {self.stall_s:g} s.") from error
            raise
        await to_thread.run_sync(file.write, bytes(pending))


def judge(status: int, headers: httpx.Headers, *, max_bytes: int) -> int | None:
    """The length that a response announces, or None, where its head promises a video that may be taken. Pure.

    Raises:
        FetchFailed, SourceRefused: from the status, or a content encoding.
        UnsupportedMedia: a content type that no video has.
        TooLarge, EmptyVideo: by the length announced.
    """
    if status != httpx.codes.OK:
        raise _of_status(status)
    # What a decompressor would make of few bytes has no bound worth the name.
    if headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise SourceRefused("The URL's server compresses what it sends, although it was asked not to.")
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not (kind in UNTYPED or kind.startswith("video/")):
        raise UnsupportedMedia("The URL's content type is not that of a video.")
    length = headers.get("Content-Length", "")
    if "Transfer-Encoding" in headers or not (length.isascii() and length.isdigit()):
        return None
    if len(length) > _MAX_DIGITS or int(length) > max_bytes:
        raise too_large(max_bytes)
    if int(length) == 0:
        raise EmptyVideo("The URL gives zero bytes.")
    return int(length)


def too_large(max_bytes: int) -> TooLarge:
    """The error for a video over the limit."""
    return TooLarge(f"A video may have at most {max_bytes} bytes.")


def _of_status(status: int) -> WinnowError:
    if status in RECOVERABLE or status >= 500:
        return FetchFailed(f"The URL's server answered {status}.")
    return SourceRefused(f"The URL's server answered {status}.")
