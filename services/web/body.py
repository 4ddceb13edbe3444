"""Size and time limits of request bodies that are read whole; an upload lifts them and brings its own."""

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.errors import MalformedRequest, TooLarge, UploadTooSlow
from services.web.problems import problem_response

_SCOPE_KEY = "winnow.body_limit"


@dataclass
class BodyLimit:
    """The limits that hold for one request's body; `lifted` by services.web.upload."""

    max_bytes: int
    timeout_s: float
    lifted: bool = False


def lift_limit(scope: Scope) -> None:
    """Leave the body of this request to the caller's own limits."""
    limit = scope.get(_SCOPE_KEY)
    if isinstance(limit, BodyLimit):
        limit.lifted = True


async def read_body(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body, under limits of its own.

    Raises:
        TooLarge: it is, or announces, more than `max_bytes`.
        UploadTooSlow: it did not arrive within `timeout_s` seconds.
        ClientDisconnect: the caller left.
    """
    lift_limit(request.scope)
    if (announced_length(request.scope) or 0) > max_bytes:
        raise TooLarge(f"The body may have at most {max_bytes} bytes.")
    body = bytearray()
    timeout = asyncio.timeout(timeout_s)
    try:
        async with timeout:
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise TooLarge(f"The body may have at most {max_bytes} bytes.")
    except TimeoutError as error:
        raise UploadTooSlow(f"The body did not arrive within {timeout_s:g} s.") from error
    return bytes(body)


def announced_length(scope: Scope) -> int | None:
    """Bytes that `Content-Length` announces, or None where it is absent or not a number."""
    value = Headers(scope=scope).get("Content-Length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


class BodyLimitMiddleware:
    """Raises TooLarge or UploadTooSlow where a body is read that is too large or too slow.

    A body that comes in chunks and announces a length as well is answered with MalformedRequest: the length is not
    true, and whoever books room by it, or a proxy, may believe it (RFC 9112, section 6.1).

    Args:
        app: the app around which it stands.
        max_bytes: most bytes of a body.
        timeout_s: seconds from the first read to the last byte.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        self.app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "Transfer-Encoding" in headers and "Content-Length" in headers:
            error = MalformedRequest("Send `Content-Length` or `Transfer-Encoding`, not both.")
            # What follows on this connection may be a part of the body to a proxy.
            await problem_response(error, headers={"Connection": "close"})(scope, receive, send)
            return
        limit = BodyLimit(self._max_bytes, self._timeout_s)
        scope[_SCOPE_KEY] = limit
        received = 0
        complete = False
        ends_at: float | None = None

        async def limited() -> Message:
            nonlocal received, complete, ends_at
            # After the body, receive() waits for the caller to leave: that may take as long as the answer.
            if complete or limit.lifted:
                return await receive()
            announced = announced_length(scope)
            if announced is not None and announced > limit.max_bytes:
                raise TooLarge(f"The body may have at most {limit.max_bytes} bytes; {announced} were announced.")
            loop = asyncio.get_running_loop()
            ends_at = ends_at or loop.time() + limit.timeout_s
            try:
                async with asyncio.timeout_at(ends_at):
                    message = await receive()
            except TimeoutError as error:
                raise UploadTooSlow(f"The body did not arrive within {limit.timeout_s:g} s.") from error
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if received > limit.max_bytes:
                    raise TooLarge(f"The body may have at most {limit.max_bytes} bytes.")
            return message

        await self.app(scope, limited, send)
