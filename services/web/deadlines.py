"""The deadline header of a request: how a route reads it, and how OpenAPI shows it."""

from typing import Any

from starlette.requests import Request

from services.deadline import DEADLINE_HEADER, MAX_DEADLINE_MS, Deadline
from services.settings import ServiceSettings


def deadline_of(request: Request, settings: ServiceSettings) -> Deadline:
    """The deadline that the caller names, within the service's bounds; it starts to run now.

    Raises:
        MalformedRequest: the header is not a whole number of milliseconds, at least 0.
    """
    return Deadline.from_header(
        request.headers.get(DEADLINE_HEADER), default_s=settings.default_deadline_s, max_s=settings.max_deadline_s
    )


def deadline_parameter() -> dict[str, Any]:
    """The header as a parameter of an OpenAPI operation."""
    return {
        "name": DEADLINE_HEADER,
        "in": "header",
        "required": False,
        "description": "Milliseconds for the answer, from the last byte of the body on; after them the answer is 504.",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_DEADLINE_MS},
        "example": 20000,
    }
