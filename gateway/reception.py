"""How bodies and videos come in: room in the spool, the upload or the fetch, and work that ends when nobody waits."""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio import CancelScope, to_thread
from pydantic import BaseModel
from starlette.requests import Request

from gateway.fetch import Downloader
from gateway.metrics import GatewayMetrics
from gateway.settings import Settings
from gateway.spool import Spool, room_needed
from services.contracts import FieldProblem
from services.errors import InvalidPayload, MalformedRequest, UrlRefused
from services.telemetry.spans import span
from services.web import (
    FORM_BYTES,
    Admission,
    StoredUpload,
    media_type,
    parse_body,
    read_body,
    receive_upload,
    while_wanted,
)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Reception:
    """Takes in what requests bring or name; `downloader` is None where URLs are not fetched."""

    settings: Settings
    admission: Admission
    spool: Spool
    metrics: GatewayMetrics
    downloader: Downloader | None

    @asynccontextmanager
    async def sent(self, request: Request) -> AsyncIterator[tuple[StoredUpload, float]]:
        """The video of a multipart body, and the seconds that it took; its file is gone after the block.

        Raises:
            StorageFull: refused before the body is read, or while it is written.
            MalformedRequest, TooLarge, EmptyVideo, UploadTooSlow: from the body.
            ClientDisconnect: the client left.
        """
        settings = self.settings
        max_body_bytes = settings.max_video_bytes + settings.max_json_bytes + FORM_BYTES
        with self.spool.booking(room_needed(request.headers.get("Content-Length"), max_body_bytes=max_body_bytes)):
            started = time.perf_counter()
            receiving = receive_upload(
                request,
                spool_dir=self.spool.directory,
                max_video_bytes=settings.max_video_bytes,
                max_json_bytes=settings.max_json_bytes,
                timeout_s=settings.upload_timeout_s,
            )
            with span("upload"):
                upload = await while_wanted(receiving, receive=None, stopped=self.admission.stopped)
            async with upload:
                seconds = time.perf_counter() - started
                self.metrics.received("upload", seconds=seconds, size=upload.size)
                yield upload, seconds

    @asynccontextmanager
    async def fetched(self, url: str) -> AsyncIterator[tuple[StoredUpload, float]]:
        """The video behind a URL, and the seconds that it took; its file is gone after the block.

        Raises:
            UrlRefused, FetchFailed, FetchTimeout, SourceRefused, UnsupportedMedia: from the fetch.
            TooLarge, EmptyVideo: by what the server announces or gives.
            StorageFull: there is no room.
        """
        if self.downloader is None:
            raise UrlRefused("This gateway fetches no URLs; send the video itself.")
        with self.spool.booking(self.settings.max_video_bytes) as shrink:
            started = time.perf_counter()
            with span("fetch"):
                upload = await self.downloader.download(url, self.spool.directory, sized=shrink)
            async with upload:
                seconds = time.perf_counter() - started
                self.metrics.received("fetch", seconds=seconds, size=upload.size)
                yield upload, seconds

    @asynccontextmanager
    async def copied(self, copy: Callable[[Path], Awaitable[int]]) -> AsyncIterator[Path]:
        """A video that `copy` puts into a new file of the spool, whose size it gives; the file is gone after the block.

        Raises:
            StorageFull: there is no room.
        """
        with self.spool.booking(self.settings.max_video_bytes) as shrink:
            path = self.spool.directory / f"copy-{secrets.token_hex(8)}"
            try:
                shrink(await copy(path))
                yield path
            finally:
                with CancelScope(shield=True):
                    await to_thread.run_sync(partial(path.unlink, missing_ok=True))

    async def json(self, request: Request, model: type[M], *, max_bytes: int | None = None) -> M:
        """The model that a body is as a whole; of `max_json_bytes` where no other bound is given.

        Raises:
            MalformedRequest, TooLarge, InvalidPayload, UploadTooSlow: from the body.
            ClientDisconnect: the client left.
        """
        settings = self.settings
        if media_type(request) != "application/json":
            raise MalformedRequest("Send the JSON as `application/json`.")
        reading = read_body(request, max_bytes=max_bytes or settings.max_json_bytes, timeout_s=settings.body_timeout_s)
        return parse_body(model, await while_wanted(reading, receive=None, stopped=self.admission.stopped))

    async def wanted(self, work: Coroutine[Any, Any, T], request: Request) -> T:
        """The result of `work`, which is cancelled where the client leaves or the gateway has to stop.

        Raises:
            ClientDisconnect, NotReady: it was cancelled.
        """
        return await while_wanted(work, receive=request.receive, stopped=self.admission.stopped)


def wrong_field(pointer: str, detail: str) -> InvalidPayload:
    """The error for one field of a payload."""
    return InvalidPayload(detail, errors=[FieldProblem(pointer=pointer, detail=detail)])
