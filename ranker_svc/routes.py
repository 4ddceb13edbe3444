"""The ranker's HTTP routes."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from ranker_svc.ranker import Ranker
from services.contracts import ModelIdentity, RankRequest, RankResult
from services.errors import (
    DeadlineExceeded,
    InvalidPayload,
    MalformedRequest,
    NotReady,
    Overloaded,
    TooLarge,
    Unauthorized,
    UploadTooSlow,
)
from services.web import PROBLEM_RESPONSES, admission_of, deadline_of, deadline_parameter, while_wanted


class AdmittedRoute(APIRoute):
    """A route that takes a place before a byte of the body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler inside a place."""
        handle = super().get_route_handler()

        async def admitted(request: Request) -> Response:
            with admission_of(request).place():
                return await handle(request)

        return admitted


ranking = APIRouter(prefix="/v1", tags=["rank"], route_class=AdmittedRoute)
about = APIRouter(prefix="/v1", tags=["rank"])


@ranking.post(
    "/rank",
    summary="Judge issues on the frames of one video",
    responses=PROBLEM_RESPONSES(
        MalformedRequest,
        Unauthorized,
        UploadTooSlow,
        TooLarge,
        InvalidPayload,
        Overloaded,
        NotReady,
        DeadlineExceeded,
    ),
    openapi_extra={"parameters": [deadline_parameter()]},
)
async def rank(request: Request, body: RankRequest) -> RankResult:
    """Asks every distinct question once and answers with probabilities, calibrated where a calibrator is known."""
    ranker: Ranker = request.state.ranker
    work = ranker.rank(body, deadline_of(request, ranker.settings))
    return await while_wanted(work, receive=request.receive, stopped=admission_of(request).stopped)


@about.get("/model", summary="Which model answers", responses=PROBLEM_RESPONSES(Unauthorized))
async def model(request: Request) -> ModelIdentity:
    """Name, fingerprint and engine of the model."""
    ranker: Ranker = request.state.ranker
    return ranker.engine.identity
