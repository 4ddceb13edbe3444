"""Errors as RFC 9457 responses: the handlers of an app, and the `responses=` of its OpenAPI."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from services.contracts import FieldProblem, Problem
from services.errors import (
    Forbidden,
    InvalidPayload,
    MalformedRequest,
    NotFound,
    TooLarge,
    Unauthorized,
    WinnowError,
)
from services.telemetry import trace
from services.web.methods import allowed_methods

MEDIA_TYPE = "application/problem+json"
PROBLEM_REF = "#/components/schemas/Problem"
_MAX_LISTED = 1_000
_MAX_FIELD_PROBLEMS = 32
_BY_STATUS = {
    400: MalformedRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    422: InvalidPayload,
}


class ProblemResponse(Response):
    """A response whose body is a Problem."""

    media_type = MEDIA_TYPE


def problem_response(error: WinnowError, *, headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """The response for an error, with the request id of the request being served."""
    problem = error.problem(trace.current().request_id)
    all_headers = {**error.headers, **(headers or {})}
    if error.retry_after_s is not None:
        all_headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return ProblemResponse(problem.model_dump_json(), status_code=error.status, headers=all_headers)


def field_problems(errors: Sequence[Any], *, prefix: str = "") -> tuple[FieldProblem, ...]:
    """Pydantic's error list as field problems, without the values that were sent; at most 32 of them."""
    return tuple(
        FieldProblem(pointer="/".join([prefix, *map(str, error["loc"])]).strip("/") or "body", detail=error["msg"])
        for error in errors[:_MAX_FIELD_PROBLEMS]
    )


def from_validation(error: ValidationError, *, part: str | None) -> WinnowError:
    """The error for JSON that does not validate: MalformedRequest where it is not JSON, else InvalidPayload.

    Args:
        error: of the model.
        part: of a multipart body, with whose name the pointers begin; None where the JSON is the body itself.
    """
    what = "body" if part is None else f"part `{part}`"
    if error.error_count() > _MAX_LISTED:  # a list of them all would keep the event loop for seconds
        return InvalidPayload(f"The {what} is wrong in {error.error_count()} places.")
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    problems = field_problems(errors, prefix=part or "")
    if errors[0]["type"] == "json_invalid":
        return MalformedRequest(f"The {what} is not JSON: {problems[0].detail}.", errors=problems)
    return InvalidPayload(_summary(problems), errors=problems)


def from_request_validation(error: RequestValidationError) -> WinnowError:
    """The error for a body, query, path or header that does not validate; only a body's content is InvalidPayload."""
    errors = error.errors()
    problems = field_problems(errors)
    unreadable = any(e["type"] == "json_invalid" or e["loc"][:1] != ("body",) for e in errors)
    return (MalformedRequest if unreadable else InvalidPayload)(_summary(problems), errors=problems)


def from_http_exception(error: HTTPException) -> WinnowError:
    """The error for an exception of Starlette or FastAPI, e.g. 404 and 405 of the routing."""
    # FastAPI wraps whatever happens while it reads a body into a 400; ours says what it was.
    if isinstance(error.__cause__, WinnowError):
        return error.__cause__
    detail = str(error.detail)
    if error.status_code in _BY_STATUS:
        return _BY_STATUS[error.status_code](f"{detail.rstrip('.')}.")
    phrase = HTTPStatus(error.status_code).phrase
    mapped = WinnowError(f"{detail.rstrip('.')}.")
    mapped.status, mapped.title = error.status_code, phrase
    mapped.code = phrase.lower().replace(" ", "_").replace("-", "_")
    return mapped


def add_handlers(app: FastAPI) -> None:
    """Make the app answer every expected error as a problem; unexpected ones are services.web.middleware's."""

    async def on_error(request: Request, error: Exception) -> Response:
        headers: Mapping[str, str] | None = None
        match error:
            case WinnowError():
                mapped = error
            case RequestValidationError():
                mapped = from_request_validation(error)
            case HTTPException(__cause__=ClientDisconnect() as left):
                raise left
            case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
                mapped, headers = from_http_exception(error), {"Allow": allowed_methods(request)}
            case HTTPException():
                mapped, headers = from_http_exception(error), error.headers
            case _:
                raise error
        return problem_response(mapped, headers=headers)

    for kind in (WinnowError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, on_error)


def PROBLEM_RESPONSES(*error_classes: type[WinnowError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` argument of a route that may answer these errors, with an example of each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for cls in error_classes:
        entry = responses.setdefault(
            cls.status,
            {"description": "", "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM_REF}, "examples": {}}}},
        )
        summary = (cls.__doc__ or cls.title).strip().splitlines()[0]
        entry["description"] = f"{entry['description']} `{cls.code}`: {summary}".strip()
        example = cls(summary).problem("6f1d0c6e9a5b4c7f8e2d1a3b")
        entry["content"][MEDIA_TYPE]["examples"][cls.code] = {
            "summary": cls.title,
            "value": example.model_dump(mode="json"),
        }
    return responses


def problem_schemas() -> dict[str, Any]:
    """The OpenAPI component schemas that PROBLEM_RESPONSES refers to."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    nested = schema.pop("$defs", {})
    return {"Problem": schema, **nested}


def _summary(problems: Sequence[FieldProblem]) -> str:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{first.pointer}: {first.detail}{more}."
