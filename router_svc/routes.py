"""The router's HTTP routes but for those of the seed bank."""

from fastapi import APIRouter, Request

from router_svc.pipeline import Pipeline
from router_svc.state import StateReport
from router_svc.uploads import VIDEO_ERRORS, upload_of, while_wanted_of
from services.contracts import RouteRequest, RouteResult, RouterState
from services.errors import DeadlineExceeded, DigestMismatch, MalformedRequest, NotReady, Unauthorized
from services.web import PROBLEM_RESPONSES, deadline_of, deadline_parameter, parse_part, upload_operation

api = APIRouter(prefix="/v1")


@api.post(
    "/route",
    summary="Filter one video, and ask the ranker where it is risky",
    tags=["route"],
    responses=PROBLEM_RESPONSES(*VIDEO_ERRORS, DigestMismatch),
    openapi_extra=upload_operation(RouteRequest),
)
async def route(request: Request) -> RouteResult:
    """Decodes and embeds frames, compares them with the seeds of the request's issues, forwards what is risky."""
    pipeline: Pipeline = request.state.pipeline
    async with upload_of(request, pipeline.settings) as upload:
        deadline = deadline_of(request, pipeline.settings)
        body = parse_part(RouteRequest, upload.json)
        return await while_wanted_of(pipeline.route(upload, body, deadline), request)


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
