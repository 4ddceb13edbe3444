"""Versions of things over HTTP: ETag and If-Match (RFC 9110, sections 8.8.3 and 13.1.1)."""

import re
from typing import Any

from starlette.requests import Request

from services.errors import MalformedRequest, PreconditionRequired

_ETAG = re.compile(r'"([1-9][0-9]{0,17})"')


def etag(version: int) -> str:
    """The ETag of a version, e.g. `"3"`."""
    return f'"{version}"'


def expected_version(request: Request) -> int | None:
    """The version that a change is based on; None where the caller writes `*`: whatever it has become.

    Raises:
        PreconditionRequired: no `If-Match`.
        MalformedRequest: an `If-Match` that is not one ETag of ours, nor `*`. Weak ones and lists never are.
    """
    values = [value.strip() for value in request.headers.getlist("If-Match")]
    if not values:
        raise PreconditionRequired("Send If-Match with the ETag that you have read, or with * to change any version.")
    if values == ["*"]:
        return None
    found = _ETAG.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        raise MalformedRequest('If-Match must be one ETag as it was answered, e.g. "3", or *.')
    return int(found[1])


def if_match_parameter() -> dict[str, Any]:
    """The header as a parameter of an OpenAPI operation."""
    return {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The ETag that the change is based on; 412 where it is another by now. `*` changes any version.",
        "schema": {"type": "string", "pattern": r'^(\*|"[1-9][0-9]{0,17}")$'},
        "example": '"3"',
    }
