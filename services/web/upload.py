"""Receives a video upload into a spool file, hashed while it is written, never held in memory."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
from anyio import to_thread
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from services.errors import EmptyVideo, InvalidPayload, MalformedRequest, StorageFull, TooLarge, UploadTooSlow
from services.web.body import announced_length, lift_limit
from services.web.multipart import FormParser, PartData, PartStarted, boundary_of
from services.web.problems import from_validation
from services.web.spool import SpoolFile, spool_file
from services.web.structure import check_structure

# Bytes gathered before they are hashed and written in a worker thread.
_WRITE_BYTES = 1024 * 1024
FORM_BYTES = 64 * 1024
"""Bytes allowed for boundaries and part headers."""

UPLOAD_ERRORS = (MalformedRequest, UploadTooSlow, TooLarge, InvalidPayload, EmptyVideo, StorageFull)
"""Everything that `receive_upload` and `parse_part` raise."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class StoredUpload:
    """A video on disk; as an async context manager it deletes the file at exit.

    Attributes:
        path: the video's file.
        sha256: of the video's bytes, 64 lower-case hexadecimal digits.
        size: of the video, in bytes, at least 1.
        filename: what the client calls the file; for display alone.
        json: bytes of the JSON part, or None where it was not sent.
    """

    path: Path
    sha256: str
    size: int
    filename: str | None
    json: bytes | None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(partial(self.path.unlink, missing_ok=True))


def media_type(request: Request) -> str:
    """The content type of a request without its parameters, in lower case; empty where there is none."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def parse_body(model: type[M], raw: bytes, *, part: str | None = None) -> M:
    """The model in a body, or a part of one, that is JSON as a whole.

    Args:
        model: what the JSON must be.
        raw: the JSON.
        part: name of the part, with which the pointers of errors begin.

    Raises:
        MalformedRequest: it is not JSON.
        TooLarge: it holds too many values.
        InvalidPayload: the JSON is against the model.
    """
    check_structure(raw)
    try:
        # Strict: a number in quotes is no number to the OpenAPI document either.
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise from_validation(error, part=part) from error


def parse_part(model: type[M], raw: bytes | None, *, part: str = "request") -> M:
    """`parse_body` of a part; MalformedRequest as well where it was not sent."""
    if raw is None:
        raise MalformedRequest(f"The part `{part}` is missing.")
    return parse_body(model, raw, part=part)


async def receive_upload(
    request: Request,
    *,
    spool_dir: Path,
    max_video_bytes: int,
    max_json_bytes: int,
    timeout_s: float,
    json_part: str = "request",
    video_part: str = "video",
) -> StoredUpload:
    """Stream a multipart body with a video and, before or after it, an optional JSON part.

    The file is removed on every failure, a client that leaves (`starlette.requests.ClientDisconnect`) included.

    Args:
        request: its body must not have been read.
        spool_dir: directory of the file; made where it is missing.
        max_video_bytes: most bytes of the video.
        max_json_bytes: most bytes of the JSON part; it is held in memory.
        timeout_s: seconds for the whole body to arrive.
        json_part: name of the JSON part.
        video_part: name of the video's part.

    Raises:
        MalformedRequest: not multipart, cut short, an unknown or repeated part, or no video part.
        TooLarge: the video, the JSON part or the body is over its limit; known from Content-Length where that is sent.
        EmptyVideo: the video part has no bytes.
        UploadTooSlow: the time is over.
        StorageFull: the disk, a quota or a file size limit stopped the write.
    """
    lift_limit(request.scope)
    parts = f"a file part `{video_part}` and a JSON part `{json_part}`"
    boundary = boundary_of(request.headers.get("Content-Type"), parts=parts)
    limits = _Limits(video=max_video_bytes, json=max_json_bytes)
    announced = announced_length(request.scope)
    if announced is not None and announced > limits.body:
        raise TooLarge(f"A video may have at most {max_video_bytes} bytes; the body announces {announced}.")
    timeout = asyncio.timeout(timeout_s)
    try:
        async with timeout, spool_file(spool_dir) as spool:
            form = _Form(FormParser(boundary), limits, spool, json_part=json_part, video_part=video_part)
            async for chunk in request.stream():
                await form.take(chunk)
            return await form.finish()
    except TimeoutError as error:
        if timeout.expired():
            raise UploadTooSlow(f"The upload did not arrive within {timeout_s:g} s.") from error
        raise


@dataclass(frozen=True)
class _Limits:
    video: int
    json: int

    @property
    def body(self) -> int:
        return self.video + self.json + FORM_BYTES


@dataclass
class _Form:
    """Sorts the parser's events into the spool and the JSON part."""

    parser: FormParser
    limits: _Limits
    spool: SpoolFile
    json_part: str
    video_part: str
    part: str = ""
    seen: set[str] = field(default_factory=set)
    filename: str | None = None
    json: bytearray = field(default_factory=bytearray)
    pending: bytearray = field(default_factory=bytearray)
    received: int = 0

    async def take(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.received > self.limits.body:
            raise TooLarge(f"The body may have at most {self.limits.body} bytes.")
        for event in self.parser.feed(chunk):
            if isinstance(event, PartStarted):
                self._start(event)
            elif isinstance(event, PartData):
                self._data(event.data)
        if len(self.pending) >= _WRITE_BYTES:
            await self._flush()

    async def finish(self) -> StoredUpload:
        if not self.parser.complete:
            raise MalformedRequest("The body ends before its closing boundary.")
        if self.video_part not in self.seen:
            raise MalformedRequest(f"The part `{self.video_part}` is missing.")
        await self._flush()
        if self.spool.size == 0:
            raise EmptyVideo("The video has zero bytes.")
        return StoredUpload(
            path=self.spool.path,
            sha256=self.spool.digest.hexdigest(),
            size=self.spool.size,
            filename=self.filename,
            json=bytes(self.json) if self.json_part in self.seen else None,
        )

    def _start(self, part: PartStarted) -> None:
        if part.name not in (self.json_part, self.video_part):
            raise MalformedRequest(
                f"Unknown part `{part.name[:100]}`; the parts are `{self.video_part}` and `{self.json_part}`."
            )
        if part.name in self.seen:
            raise MalformedRequest(f"The part `{part.name}` was sent twice.")
        self.seen.add(part.name)
        self.part = part.name
        if part.name == self.video_part:
            self.filename = part.filename

    def _data(self, data: bytes) -> None:
        if self.part == self.json_part:
            self.json += data
            if len(self.json) > self.limits.json:
                raise TooLarge(f"The part `{self.json_part}` may have at most {self.limits.json} bytes.")
            return
        self.pending += data
        if self.spool.size + len(self.pending) > self.limits.video:
            raise TooLarge(f"A video may have at most {self.limits.video} bytes.")

    async def _flush(self) -> None:
        data, self.pending = bytes(self.pending), bytearray()
        if data:
            await to_thread.run_sync(self.spool.write, data)
