"""The routes of the seed bank, for operators."""

from fastapi import APIRouter, Request, Response

from gateway.auth import needs
from gateway.reception import Reception
from gateway.seed_openapi import (
    ADD_ERRORS,
    ASK_ERRORS,
    BODY_ERRORS,
    new_seed_operation,
)
from gateway.seeds import SeedDesk, actor
from gateway.state import gateway_of
from services.contracts import (
    BankStatus,
    ReindexRequest,
    ReindexStatus,
    Seed,
    SeedChange,
    SeedCopy,
    SeedFilter,
    SeedPage,
    SeedRemovalRequest,
    SwitchRequest,
)
from services.errors import Conflict, InvalidPayload, NotFound, Overloaded, UnknownIssue
from services.web import (
    CHANGE_ERRORS,
    PROBLEM_RESPONSES,
    Jpeg,
    PathId,
    PathIndex,
    SeedRoute,
    deadline_parameter,
    expected_version,
    if_match_parameter,
    json_operation,
    parse_query,
    query_parameters,
    seed_answer,
    seed_responses,
)


def seed_api() -> APIRouter:
    """A router of FastAPI with the routes of seeds, without a prefix."""
    routes = APIRouter(tags=["seeds"], dependencies=[needs("seeds")])

    @routes.post(
        "/seeds",
        status_code=201,
        summary="Add a seed to the bank",
        responses=seed_responses(201, 200) | PROBLEM_RESPONSES(*ADD_ERRORS),
        openapi_extra=new_seed_operation(),
    )
    async def add(request: Request, response: Response) -> Seed:
        """Send a video, or name one by its URL or by the decision about it, or give a sentence.

        The same bytes, segment, issue and kind are one seed, however often they are sent.
        """
        return seed_answer(response, *await _desk(request).add(request))

    @routes.get(
        "/seeds",
        summary="List seeds, newest first",
        responses=PROBLEM_RESPONSES(*ASK_ERRORS, InvalidPayload),
        openapi_extra={"parameters": [*query_parameters(SeedFilter), deadline_parameter()]},
    )
    async def page(request: Request) -> SeedPage:
        """Some of the seeds; `next_cursor` gives the next ones."""
        asked = parse_query(request, SeedFilter)
        return await _desk(request).ask(request, lambda router, deadline: router.page(asked, deadline))

    @routes.post(
        "/seeds/restore",
        status_code=201,
        summary="Put a copy of a seed into the bank",
        responses=seed_responses(201, 200) | PROBLEM_RESPONSES(*BODY_ERRORS, UnknownIssue, Conflict, Overloaded),
        openapi_extra=json_operation(SeedCopy),
    )
    async def restore(request: Request, response: Response) -> Seed:
        """What `GET /v1/seeds/{seed_id}/copy` of any bank gave; a seed that the bank has stays as it is.

        Its issue is one of the policy's, unless it is a removed seed.
        """
        return seed_answer(response, *await _desk(request).restore(request))

    routes.include_router(_single())
    return routes


def bank_api() -> APIRouter:
    """A router of FastAPI with the routes of the bank as a whole, without a prefix."""
    routes = APIRouter(tags=["seeds"])

    @routes.get(
        "/bank",
        summary="How large the seed bank is",
        responses=PROBLEM_RESPONSES(*ASK_ERRORS),
        dependencies=[needs("seeds")],
        openapi_extra={"parameters": [deadline_parameter()]},
    )
    async def bank(request: Request) -> BankStatus:
        """Seeds by issue and state, the encoder that searches them, and how far a new one has come."""
        return await _desk(request).ask(request, lambda router, deadline: router.bank(deadline))

    @routes.post(
        "/bank/reindex",
        status_code=202,
        summary="Index the bank with another encoder",
        responses=PROBLEM_RESPONSES(*BODY_ERRORS, Conflict),
        dependencies=[needs("admin")],
        openapi_extra=json_operation(ReindexRequest),
    )
    async def reindex(request: Request) -> ReindexStatus:
        """The live one serves until every seed has vectors of the new one; `GET /v1/bank` says how far that is."""
        asked = await _reception(request).json(request, ReindexRequest)
        return await _desk(request).ask(
            request, lambda router, deadline: router.reindex(asked, deadline, actor=actor())
        )

    @routes.post(
        "/bank/switch",
        summary="Search with the other encoder that the bank has vectors of",
        responses=PROBLEM_RESPONSES(*BODY_ERRORS, Conflict),
        dependencies=[needs("admin")],
        openapi_extra=json_operation(SwitchRequest),
    )
    async def switch(request: Request) -> BankStatus:
        """All replicas at once; the one before stays, so that the way back is the same call."""
        asked = await _reception(request).json(request, SwitchRequest)
        return await _desk(request).ask(request, lambda router, deadline: router.switch(asked, deadline, actor=actor()))

    return routes


def _single() -> APIRouter:
    routes = APIRouter(prefix="/seeds/{seed_id}", route_class=SeedRoute)

    @routes.get(
        "",
        summary="Read a seed",
        responses=seed_responses(200) | PROBLEM_RESPONSES(*ASK_ERRORS, NotFound),
        openapi_extra={"parameters": [deadline_parameter()]},
    )
    async def get(request: Request, response: Response, seed_id: PathId) -> Seed:
        """The seed with its statistics, also where it was removed."""
        seed = await _desk(request).ask(request, lambda router, deadline: router.get(seed_id, deadline))
        return seed_answer(response, seed)

    @routes.patch(
        "",
        summary="Change a seed",
        responses=seed_responses(200) | PROBLEM_RESPONSES(*BODY_ERRORS, *CHANGE_ERRORS),
        openapi_extra=json_operation(SeedChange, if_match_parameter()),
    )
    async def change(request: Request, response: Response, seed_id: PathId) -> Seed:
        """Its state, share of traffic, expiry or note, where nobody else has changed it since it was read."""
        version = expected_version(request)
        asked = await _reception(request).json(request, SeedChange)
        seed = await _desk(request).ask(
            request,
            lambda router, deadline: router.change(seed_id, asked, deadline, version=version, actor=actor()),
        )
        return seed_answer(response, seed)

    @routes.delete(
        "",
        summary="Remove a seed",
        responses=seed_responses(200) | PROBLEM_RESPONSES(*ASK_ERRORS, *CHANGE_ERRORS),
        openapi_extra={
            "parameters": [*query_parameters(SeedRemovalRequest), if_match_parameter(), deadline_parameter()]
        },
    )
    async def remove(request: Request, response: Response, seed_id: PathId) -> Seed:
        """It is searched no longer; a tombstone stays, with who and why."""
        version = expected_version(request)
        why = parse_query(request, SeedRemovalRequest).why
        seed = await _desk(request).ask(
            request, lambda router, deadline: router.remove(seed_id, why, deadline, version=version, actor=actor())
        )
        return seed_answer(response, seed)

    @routes.get(
        "/frames/{index}",
        summary="A frame of a seed",
        response_class=Jpeg,
        responses=PROBLEM_RESPONSES(*ASK_ERRORS, NotFound),
        openapi_extra={"parameters": [deadline_parameter()]},
    )
    async def frame(request: Request, seed_id: PathId, index: PathIndex) -> Response:
        """A JPEG file."""
        return Jpeg(await _desk(request).ask(request, lambda router, deadline: router.frame(seed_id, index, deadline)))

    @routes.get(
        "/copy",
        summary="Everything that a seed is made of",
        responses=PROBLEM_RESPONSES(*ASK_ERRORS, NotFound, Overloaded),
        openapi_extra={"parameters": [deadline_parameter()]},
    )
    async def copy(request: Request, seed_id: PathId) -> SeedCopy:
        """What `POST /v1/seeds/restore` of another bank takes."""
        return await _desk(request).copy(request, seed_id)

    return routes


def _desk(request: Request) -> SeedDesk:
    return gateway_of(request).desk


def _reception(request: Request) -> Reception:
    return gateway_of(request).desk.reception
