"""The router's HTTP routes of the seed bank; operators reach them through the gateway."""

from typing import TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from router_svc.seeds import Operators
from router_svc.settings import Settings
from router_svc.uploads import VIDEO_ERRORS, upload_of, while_wanted_of
from services.clients.seeds import ACTOR_HEADER
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
    SeedRequest,
    SwitchRequest,
)
from services.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidPayload,
    MalformedRequest,
    NotFound,
    NotReady,
    Overloaded,
    TooLarge,
    Unauthorized,
    UploadTooSlow,
)
from services.web import (
    CHANGE_ERRORS,
    PROBLEM_RESPONSES,
    VIDEO_KINDS,
    Jpeg,
    PathId,
    PathIndex,
    SeedRoute,
    admission_of,
    deadline_of,
    deadline_parameter,
    expected_version,
    if_match_parameter,
    json_operation,
    media_type,
    narrowed,
    parse_body,
    parse_part,
    parse_query,
    query_parameters,
    read_body,
    seed_answer,
    seed_responses,
    upload_operation,
)

M = TypeVar("M", bound=BaseModel)

ASK_ERRORS = (MalformedRequest, Unauthorized, NotReady, DeadlineExceeded)
BODY_ERRORS = (*ASK_ERRORS, InvalidPayload, TooLarge, UploadTooSlow)
DEADLINE = {"parameters": [deadline_parameter()]}


def seed_api() -> APIRouter:
    """A router of FastAPI with the routes of seeds."""
    routes = APIRouter(prefix="/v1", tags=["bank"])

    @routes.post(
        "/seeds",
        status_code=201,
        summary="Add a segment of a video, or a sentence, to the seed bank",
        responses=seed_responses(201, 200) | PROBLEM_RESPONSES(*VIDEO_ERRORS, Conflict),
        openapi_extra=upload_operation(
            SeedRequest,
            part=narrowed(SeedRequest, {"text": None, "kind": VIDEO_KINDS}),
            bodies=[narrowed(SeedRequest, {"kind": {"enum": ["text"]}}, required=["text", "kind"])],
        ),
    )
    async def add(request: Request, response: Response) -> Seed:
        """The same bytes, segment, issue and kind are one seed, however often they are sent. It is searchable now."""
        settings, seeds = _settings(request), _operators(request).seeds
        deadline_of(request, settings)  # one that cannot be read is told before the body
        if media_type(request) == "application/json":
            with admission_of(request).place():
                body = await _json(request, SeedRequest)
                work = seeds.add_text(body, _actor(request), deadline_of(request, settings))
                return seed_answer(response, *await while_wanted_of(work, request))
        async with upload_of(request, settings) as upload:
            body = parse_part(SeedRequest, upload.json)
            work = seeds.add_video(upload, body, _actor(request), deadline_of(request, settings))
            return seed_answer(response, *await while_wanted_of(work, request))

    @routes.get(
        "/seeds",
        summary="List seeds, newest first",
        responses=PROBLEM_RESPONSES(*ASK_ERRORS, InvalidPayload),
        openapi_extra={"parameters": [*query_parameters(SeedFilter), deadline_parameter()]},
    )
    async def page(request: Request) -> SeedPage:
        """A page of the seeds that the filter names; `next_cursor` gives the next one."""
        asked = parse_query(request, SeedFilter)
        async with deadline_of(request, _settings(request)).limit():
            return await _operators(request).seeds.page(asked)

    @routes.post(
        "/seeds/restore",
        status_code=201,
        summary="Add a seed that another bank exported",
        responses=seed_responses(201, 200) | PROBLEM_RESPONSES(*BODY_ERRORS, Overloaded),
        openapi_extra=json_operation(SeedCopy),
    )
    async def restore(request: Request, response: Response) -> Seed:
        """With its state, its statistics and its tombstone, where it has one."""
        with admission_of(request).place():
            copy = await _json(request, SeedCopy, max_bytes=_settings(request).max_body_bytes)
            work = _operators(request).seeds.restore(copy, _actor(request), deadline_of(request, _settings(request)))
            return seed_answer(response, *await while_wanted_of(work, request))

    routes.include_router(_single())
    return routes


def bank_api() -> APIRouter:
    """A router of FastAPI with the routes of the bank as a whole."""
    routes = APIRouter(prefix="/v1", tags=["bank"])

    @routes.get(
        "/bank",
        summary="How large the seed bank is",
        responses=PROBLEM_RESPONSES(*ASK_ERRORS),
        openapi_extra=DEADLINE,
    )
    async def bank(request: Request) -> BankStatus:
        """Seeds by issue and state, the live encoder, and the revision, which changes whenever the searchable do."""
        async with deadline_of(request, _settings(request)).limit():
            return await _operators(request).bank.status()

    @routes.post(
        "/bank/reindex",
        status_code=202,
        summary="Index the bank with another encoder, and switch to it",
        responses=PROBLEM_RESPONSES(*BODY_ERRORS, Conflict),
        openapi_extra=json_operation(ReindexRequest),
    )
    async def reindex(request: Request) -> ReindexStatus:
        """The live encoder serves until every seed is embedded and found. `GET /v1/bank` says how far it is."""
        asked = await _json(request, ReindexRequest)
        async with deadline_of(request, _settings(request)).limit():
            return await _operators(request).reindexing.begin(asked, _actor(request))

    @routes.post(
        "/bank/switch",
        summary="Make the encoder before the live one again",
        responses=PROBLEM_RESPONSES(*BODY_ERRORS, Conflict),
        openapi_extra=json_operation(SwitchRequest),
    )
    async def switch(request: Request) -> BankStatus:
        """Seeds that were added since are embedded with it first."""
        asked = await _json(request, SwitchRequest)
        async with deadline_of(request, _settings(request)).limit():
            return await _operators(request).reindexing.switch(asked)

    return routes


def _single() -> APIRouter:
    routes = APIRouter(prefix="/seeds/{seed_id}", route_class=SeedRoute)

    @routes.get(
        "",
        summary="Read a seed",
        responses=seed_responses(200) | PROBLEM_RESPONSES(*ASK_ERRORS, NotFound),
        openapi_extra=DEADLINE,
    )
    async def get(request: Request, response: Response, seed_id: PathId) -> Seed:
        """The record, with its statistics; the ETag is what a change needs."""
        async with deadline_of(request, _settings(request)).limit():
            return seed_answer(response, await _operators(request).seeds.get(seed_id))

    @routes.patch(
        "",
        summary="Change a seed's state, share of traffic, expiry or note",
        responses=seed_responses(200) | PROBLEM_RESPONSES(*BODY_ERRORS, *CHANGE_ERRORS),
        openapi_extra=json_operation(SeedChange, if_match_parameter()),
    )
    async def change(request: Request, response: Response, seed_id: PathId) -> Seed:
        """Needs the version that the caller has read: two operators cannot overwrite each other."""
        version = expected_version(request)
        asked = await _json(request, SeedChange)
        async with deadline_of(request, _settings(request)).limit():
            seed = await _operators(request).seeds.change(seed_id, asked, version, _actor(request))
        return seed_answer(response, seed)

    @routes.delete(
        "",
        summary="Remove a seed but for its tombstone",
        responses=seed_responses(200) | PROBLEM_RESPONSES(*ASK_ERRORS, *CHANGE_ERRORS),
        openapi_extra={
            "parameters": [*query_parameters(SeedRemovalRequest), if_match_parameter(), deadline_parameter()]
        },
    )
    async def remove(request: Request, response: Response, seed_id: PathId) -> Seed:
        """It is not searched for from now on, and is not added again by an import."""
        version = expected_version(request)
        why = parse_query(request, SeedRemovalRequest).why
        async with deadline_of(request, _settings(request)).limit():
            seed = await _operators(request).seeds.remove(seed_id, why, version, _actor(request))
        return seed_answer(response, seed)

    @routes.get(
        "/frames/{index}",
        summary="A frame of a seed",
        response_class=Jpeg,
        responses=PROBLEM_RESPONSES(*ASK_ERRORS, NotFound),
        openapi_extra=DEADLINE,
    )
    async def frame(request: Request, seed_id: PathId, index: PathIndex) -> Response:
        """A JPEG file: as it was embedded, but for the loss of JPEG."""
        async with deadline_of(request, _settings(request)).limit():
            return Jpeg(await _operators(request).seeds.frame(seed_id, index))

    @routes.get(
        "/copy",
        summary="Everything that a seed is made of",
        responses=PROBLEM_RESPONSES(*ASK_ERRORS, NotFound),
        openapi_extra=DEADLINE,
    )
    async def copy(request: Request, seed_id: PathId) -> SeedCopy:
        """Record, frames and vectors, as `POST /v1/seeds/restore` of another bank takes them."""
        async with deadline_of(request, _settings(request)).limit():
            return await _operators(request).seeds.copy(seed_id)

    return routes


def _operators(request: Request) -> Operators:
    found: Operators = request.state.operators
    return found


def _settings(request: Request) -> Settings:
    found: Settings = request.state.settings
    return found


def _actor(request: Request) -> str:
    """Who asks, as the gateway says it; `local` where nobody says."""
    given = request.headers.get(ACTOR_HEADER, "").strip()
    return "".join(each for each in given if each.isprintable())[:100] or "local"


async def _json(request: Request, model: type[M], *, max_bytes: int | None = None) -> M:
    settings = _settings(request)
    raw = await read_body(request, max_bytes=max_bytes or settings.max_json_bytes, timeout_s=settings.body_timeout_s)
    return parse_body(model, raw)
