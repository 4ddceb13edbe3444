"""Routes of single seeds, by their ids, as gateway and router have them."""

from typing import Annotated, Any

from fastapi import Path
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from services.contracts import Seed
from services.contracts.seeds import MAX_SEED_FRAMES, SEED_ID
from services.errors import Conflict, NotFound, PreconditionFailed, PreconditionRequired
from services.web.versions import etag

CHANGE_ERRORS = (NotFound, Conflict, PreconditionFailed, PreconditionRequired)
"""What a route that changes a seed may answer besides."""

VIDEO_KINDS = {"enum": ["golden", "centroid", "feedback", "negative"]}
"""JSON Schema of the kinds of seed that come with a video."""

PathId = Annotated[str, Path(pattern=f"^{SEED_ID.pattern}$", description="Of the seed.")]
PathIndex = Annotated[int, Path(ge=0, lt=MAX_SEED_FRAMES, description="Counted from 0.")]


class Jpeg(Response):
    """A JPEG file."""

    media_type = "image/jpeg"


class SeedRoute(APIRoute):
    """A route with `{seed_id}` in its path, which matches ids alone: `/v1/seeds/restore` names no seed."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the route serves a request, and what its path says."""
        match, child = super().matches(scope)
        if match is not Match.NONE and not SEED_ID.fullmatch(child["path_params"]["seed_id"]):
            return Match.NONE, {}
        return match, child


def seed_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers with a seed, for OpenAPI: it was added, or else it is as the bank has it."""
    header = {"description": "The seed's version, for If-Match.", "required": True, "schema": {"type": "string"}}
    said = {201: "The bank has a new seed.", 200: "The seed as the bank has it."}
    return {status: {"model": Seed, "description": said[status], "headers": {"ETag": header}} for status in statuses}


def seed_answer(response: Response, seed: Seed, new: bool | None = None) -> Seed:
    """The seed, with its ETag on the response, and 200 instead of 201 where it is known not to be new."""
    response.headers["ETag"] = etag(seed.version)
    if new is False:
        response.status_code = 200
    return seed
