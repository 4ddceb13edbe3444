"""The router's HTTP routes."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from router_svc.pipeline import Pipeline
from router_svc.state import StateReport
from services.contracts import BankStatus, RouteRequest, RouteResult, RouterState, Seed, SeedRequest
from services.errors import (
    DeadlineExceeded,
    DigestMismatch,
    MalformedRequest,
    NotReady,
    NoVideoStream,
    Overloaded,
    TruncatedVideo,
    Unauthorized,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
)
from services.web import (
    PROBLEM_RESPONSES,
    UPLOAD_ERRORS,
    StoredUpload,
    admission_of,
    deadline_of,
    deadline_parameter,
    parse_part,
    receive_upload,
    upload_operation,
    while_wanted,
)

T = TypeVar("T")

api = APIRouter(prefix="/v1")

_VIDEO_ERRORS = (
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


@api.post(
    "/route",
    summary="Filter one video, and ask the ranker where it is risky",
    tags=["route"],
    responses=PROBLEM_RESPONSES(*_VIDEO_ERRORS, DigestMismatch),
    openapi_extra=upload_operation(RouteRequest),
)
async def route(request: Request) -> RouteResult:
    """Decodes and embeds frames, compares them with the seeds of the request's issues, forwards what is risky."""
    pipeline: Pipeline = request.state.pipeline
    async with _upload(request) as upload:
        deadline = deadline_of(request, pipeline.settings)
        body = parse_part(RouteRequest, upload.json)
        return await _while_wanted(pipeline.route(upload, body, deadline), request)


@api.post(
    "/seeds",
    status_code=201,
    summary="Add a segment of a video to the seed bank",
    tags=["bank"],
    responses={200: {"model": Seed, "description": "The bank had this seed."}, **PROBLEM_RESPONSES(*_VIDEO_ERRORS)},
    openapi_extra=upload_operation(SeedRequest),
)
async def add_seed(request: Request, response: Response) -> Seed:
    """The same bytes, segment, issue and kind are one seed, however often they are sent."""
    pipeline: Pipeline = request.state.pipeline
    async with _upload(request) as upload:
        deadline = deadline_of(request, pipeline.settings)
        body = parse_part(SeedRequest, upload.json)
        seed, new = await _while_wanted(pipeline.add_seed(upload, body, deadline), request)
    if not new:
        response.status_code = 200
    return seed


@api.get(
    "/bank",
    summary="How large the seed bank is",
    tags=["bank"],
    responses=PROBLEM_RESPONSES(MalformedRequest, Unauthorized, NotReady, DeadlineExceeded),
    openapi_extra={"parameters": [deadline_parameter()]},
)
async def bank(request: Request) -> BankStatus:
    """Seeds by issue, and the revision, which changes whenever the searchable seeds change."""
    pipeline: Pipeline = request.state.pipeline
    async with deadline_of(request, pipeline.settings).limit():
        return await pipeline.bank_status()


@api.get(
    "/state",
    summary="What shapes results now",
    tags=["route"],
    responses=PROBLEM_RESPONSES(MalformedRequest, Unauthorized, NotReady, DeadlineExceeded),
    openapi_extra={"parameters": [deadline_parameter()]},
)
async def state(request: Request) -> RouterState:
    """While none of it changes, the same video and request get the same answer; the gateway's cache rests on it."""
    report: StateReport = request.state.report
    pipeline: Pipeline = request.state.pipeline
    async with deadline_of(request, pipeline.settings).limit():
        return await report.state()


@asynccontextmanager
async def _upload(request: Request) -> AsyncIterator[StoredUpload]:
    """The upload, in a place that is taken before a byte is read, and deleted at the end."""
    pipeline: Pipeline = request.state.pipeline
    settings = pipeline.settings
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


async def _while_wanted(work: Coroutine[Any, Any, T], request: Request) -> T:
    return await while_wanted(work, receive=request.receive, stopped=admission_of(request).stopped)
