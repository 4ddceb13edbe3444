"""What all clients share: the connection pool, one call under a deadline, problems turned back into errors."""

import asyncio
import contextlib
from collections.abc import AsyncIterable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from services.contracts import Health, Problem
from services.deadline import DEADLINE_HEADER, Deadline
from services.errors import (
    Conflict,
    Forbidden,
    Internal,
    MalformedRequest,
    NotFound,
    NotReady,
    Overloaded,
    PreconditionFailed,
    PreconditionRequired,
    TooLarge,
    Unauthorized,
    WinnowError,
    from_problem,
)
from services.telemetry import spans, trace

CONNECT_TIMEOUT_S = 2.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Most bytes of an answer; one for 256 issues with five matches each has less than 1 MiB."""
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_CODINGS = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_MAX_DIGITS = 6
"""Of a Retry-After in seconds; dates and anything longer are not believed."""

_BY_STATUS: dict[int, type[WinnowError]] = {
    400: MalformedRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    428: PreconditionRequired,
    429: Overloaded,
    502: NotReady,
    503: NotReady,
    504: NotReady,
}


class CallFailed(Exception):
    """No usable answer came: connection refused, cut, or an answer that is not ours. The detail is safe to show."""


def make_client(
    base_url: str,
    *,
    token: SecretStr | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    max_connections: int = 64,
) -> httpx.AsyncClient:
    """A pooled client for one service; the caller closes it.

    Args:
        base_url: of the service, e.g. `http://127.0.0.1:8081`.
        token: the service's token.
        transport: what carries the requests instead of the network, e.g. `httpx.ASGITransport(app)` in tests.
        max_connections: most connections at a time; further calls wait for one as long as their deadline allows.
    """
    # As bytes: httpx refuses text that is not ASCII.
    headers = {b"Authorization": f"Bearer {token.get_secret_value()}".encode()} if token is not None else {}
    limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        # A proxy from the environment must not see, or break, calls between services.
        trust_env=False,
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        transport=transport or httpx.AsyncHTTPTransport(limits=limits, retries=1, trust_env=False),
    )


async def call(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    deadline: Deadline,
    content: bytes | AsyncIterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
) -> httpx.Response:
    """One request under a deadline that travels with it, and the whole response, whatever its status.

    Raises:
        DeadlineExceeded: the deadline passed first; the request is abandoned.
        CallFailed: there is no response, or one of more than MAX_ANSWER_BYTES.
    """
    with spans.span(f"{method} {path}", kind="client", attributes=_about(client, method)) as span:
        async with deadline.limit():
            sent = {**trace.outgoing_headers(), DEADLINE_HEADER: deadline.header(), **(headers or {})}
            try:
                request = client.build_request(method, path, content=content, headers=sent, params=params)
                response = await _cancelled_once(_bounded(client, request))
            except httpx.HTTPError as error:
                raise CallFailed(f"{type(error).__name__} on {method} {path}") from error
        span.set({"http.response.status_code": response.status_code})
        if response.is_error:
            span.fail(str(response.status_code))
        return response


async def _bounded(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """The whole response to a request; the connection is dropped where it is too long."""
    response = await client.send(request, stream=True)
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise CallFailed(f"an answer of more than {MAX_ANSWER_BYTES} bytes on {request.method}")
    finally:
        await response.aclose()
    # The body is decoded already.
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _CODINGS]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=request)


async def _cancelled_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled once at most, however often the caller is, and then awaited to its end.

    A second cancellation would come while httpcore closes the connection for the first one: the server would work on,
    and the pool would lose the place.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            # Read, so that asyncio does not complain of an error that nobody sees.
            task.exception()
        raise
    return task.result()


def result(response: httpx.Response, model: type[M]) -> M:
    """The answer of a call.

    Raises:
        WinnowError: the error that the service answered with.
        CallFailed: a success whose body is not the model.
    """
    if response.is_error:
        raise error_of(response)
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise CallFailed(f"the answer is not a {model.__name__}: {error.error_count()} fields are wrong") from error


def error_of(response: httpx.Response) -> WinnowError:
    """The error in a response; one that is not a problem, e.g. of a load balancer, is told by its status."""
    retry_after_s = _seconds(response.headers.get("Retry-After"))
    try:
        return from_problem(Problem.model_validate_json(response.content), retry_after_s=retry_after_s)
    except ValidationError:
        cls = _BY_STATUS.get(response.status_code, Internal)
        answer = f"{response.status_code} {_phrase(response.status_code)}".strip()
        return cls(f"The answer was {answer}.", retry_after_s=retry_after_s)


async def health(client: httpx.AsyncClient, *, deadline: Deadline) -> Health:
    """What a service says of its readiness; one that cannot be asked is `unavailable`, with `service` missing.

    Raises:
        DeadlineExceeded: the deadline passed first.
    """
    try:
        response = await call(client, "GET", "/health/ready", deadline=deadline)
        return Health.model_validate_json(response.content)
    except (CallFailed, ValidationError) as error:
        reason = str(error) if isinstance(error, CallFailed) else "the answer is not a health report"
        return Health(status="unavailable", missing={"service": reason})


def json_headers() -> dict[str, str]:
    """Headers of a request with a JSON body."""
    return {"Content-Type": "application/json"}


def compact(model: BaseModel) -> bytes:
    """A model as the JSON that goes over the wire, UTF-8."""
    return model.model_dump_json().encode()


def _seconds(value: str | None) -> float | None:
    return float(value) if value and len(value) <= _MAX_DIGITS and value.isascii() and value.isdigit() else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _about(client: httpx.AsyncClient, method: str) -> spans.Attributes:
    url = client.base_url
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"http.request.method": method, "server.address": url.host, "server.port": port}
