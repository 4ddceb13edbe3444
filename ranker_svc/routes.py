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
from services.web.structure import check_structure

MAX_MARKS = 10_000
"""Commas, colons and brackets of a request's JSON; the largest legal one has about 7,000."""


class AdmittedRoute(APIRoute):
    """A route that takes a place before a byte of the body is read, and parses no flood of values."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler inside a place."""
        handle = super().get_route_handler()

        async def admitted(request: Request) -> Response:
            with admission_of(request).place():
                check_structure(await request.body(), MAX_MARKS)
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
    """Name, fingerprint and engine of the model, and a hash of the ranker's configuration."""
    ranker: Ranker = request.state.ranker
    return ranker.identity
