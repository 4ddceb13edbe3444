"""The routes of the public API."""

from fastapi import APIRouter, Request

from gateway.auth import needs
from gateway.seed_routes import bank_api, seed_api
from gateway.state import gateway_of
from gateway.views import PolicyView
from services.contracts import Decision, ModerationRequest
from services.errors import (
    DeadlineExceeded,
    FetchFailed,
    FetchTimeout,
    Forbidden,
    NotFound,
    NotReady,
    NoVideoStream,
    Overloaded,
    SourceRefused,
    TruncatedVideo,
    Unauthorized,
    UndecodableVideo,
    UnknownIssue,
    UnsupportedMedia,
    UrlRefused,
    VideoRefused,
)
from services.web import PROBLEM_RESPONSES, UPLOAD_ERRORS, upload_operation

DECIDE_ERRORS = (
    *UPLOAD_ERRORS,
    UnsupportedMedia,
    NoVideoStream,
    UnknownIssue,
    TruncatedVideo,
    UndecodableVideo,
    VideoRefused,
    UrlRefused,
    FetchFailed,
    FetchTimeout,
    SourceRefused,
    Overloaded,
    NotReady,
    DeadlineExceeded,
)
ACCESS_ERRORS = (Unauthorized, Forbidden)

EXAMPLE = {
    "context": {"title": "Knife skills for beginners", "language": "en"},
    "issues": ["weapon_threat"],
    "mode": "cascade",
}


def api() -> APIRouter:
    """A router of FastAPI with every route under /v1."""
    routes = APIRouter(prefix="/v1")

    @routes.post(
        "/decisions",
        summary="Decide about a video",
        tags=["decisions"],
        responses=PROBLEM_RESPONSES(*DECIDE_ERRORS, *ACCESS_ERRORS),
        dependencies=[needs("decide")],
        openapi_extra=upload_operation(
            ModerationRequest,
            required=False,
            description="JSON; absent means all issues and no context.",
            example=EXAMPLE,
            instead_of_video="url",
        ),
    )
    async def decide(request: Request) -> Decision:
        """Send a video, or the URL of one, and wait for the decision. It is recorded before it is answered."""
        return await gateway_of(request).intake.decide(request)

    @routes.get(
        "/decisions/{decision_id}",
        summary="Read a decision again",
        tags=["decisions"],
        responses=PROBLEM_RESPONSES(NotFound, NotReady, *ACCESS_ERRORS),
        dependencies=[needs("read")],
    )
    async def find(request: Request, decision_id: str) -> Decision:
        """The decision as it was answered."""
        return await gateway_of(request).pipeline.find(decision_id)

    @routes.get(
        "/policy",
        summary="The policy in force",
        tags=["policy"],
        responses=PROBLEM_RESPONSES(*ACCESS_ERRORS),
        dependencies=[needs("read")],
    )
    async def policy(request: Request) -> PolicyView:
        """Issues with their definitions and thresholds, and the hash that decisions carry."""
        return PolicyView.of(gateway_of(request).policy)

    routes.include_router(seed_api())
    routes.include_router(bank_api())
    return routes
