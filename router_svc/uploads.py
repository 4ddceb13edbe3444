"""How routes of the router take a video, and work no longer than their caller waits."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import Request

from router_svc.settings import Settings
from services.errors import (
    DeadlineExceeded,
    NotReady,
    NoVideoStream,
    Overloaded,
    TruncatedVideo,
    Unauthorized,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
)
from services.web import UPLOAD_ERRORS, StoredUpload, admission_of, deadline_of, receive_upload, while_wanted

T = TypeVar("T")

VIDEO_ERRORS = (
    *UPLOAD_ERRORS,
    Unauthorized,
    UnsupportedMedia,
    NoVideoStream,
    TruncatedVideo,
    UndecodableVideo,
    VideoRefused,
    Overloaded,
    NotReady,
    DeadlineExceeded,
)
"""Everything that a route may answer about a video that is sent to it."""


@asynccontextmanager
async def upload_of(request: Request, settings: Settings) -> AsyncIterator[StoredUpload]:
    """The upload, in a place that is taken before a byte is read, and deleted at the end."""
    deadline_of(request, settings)  # one that cannot be read is told before the upload
    with admission_of(request).place():
        receiving = receive_upload(
            request,
            spool_dir=settings.spool_dir,
            max_video_bytes=settings.max_video_bytes,
            max_json_bytes=settings.max_json_bytes,
            timeout_s=settings.upload_timeout_s,
        )
        received = await while_wanted(receiving, receive=None, stopped=admission_of(request).stopped)
        async with received as upload:
            yield upload


async def while_wanted_of(work: Coroutine[Any, Any, T], request: Request) -> T:
    """The result of the work, which is given up when the caller leaves or the service stops."""
    return await while_wanted(work, receive=request.receive, stopped=admission_of(request).stopped)
