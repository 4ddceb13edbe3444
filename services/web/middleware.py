"""Pure-ASGI middleware around every app: trace context, observation, unexpected errors, token."""

import hmac
import logging
import time
from collections.abc import Callable

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.errors import Internal, Unauthorized, WinnowError
from services.telemetry import spans, trace
from services.telemetry.caller import SCOPE_KEY
from services.telemetry.metrics import METHODS, HttpMetrics
from services.telemetry.tracing import Tracing
from services.web.problems import problem_response

logger = logging.getLogger(__name__)

# nginx's status for a caller that left before the answer; it is logged and counted, never sent.
CALLER_LEFT = 499
UNMATCHED = "unmatched"
_PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})
_UNEXPECTED = "winnow.unexpected_error"
"""Key of the scope under which ObserveMiddleware leaves what no handler expected, for the span of the request."""


class TraceMiddleware:
    """Takes or makes request id and trace context, puts both on the response, and spans the request.

    Args:
        app: the app around which it stands.
        tracing: where spans go, if they go anywhere. Probes and scrapes have none.
    """

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self.app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        context = trace.TraceContext.from_headers(
            request_id=headers.get(trace.REQUEST_ID_HEADER),
            traceparent=headers.get(trace.TRACEPARENT_HEADER),
            tracestate=headers.get(trace.TRACESTATE_HEADER),
        )

        tracer = self._tracing.tracer
        method = scope["method"] if scope["method"] in METHODS else "HTTP"
        span: spans.Span | None = None
        if tracer is not None and scope["path"] not in _PROBES:
            about = {"http.request.method": method if method != "HTTP" else "_OTHER", "url.scheme": scope["scheme"]}
            span, context = tracer.start(method, "server", context, about)
        status = 0

        async def send_with_ids(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out[trace.REQUEST_ID_HEADER] = context.request_id
                out[trace.TRACEPARENT_HEADER] = context.traceparent
            await send(message)

        try:
            with trace.use(context):
                await self.app(scope, receive, send_with_ids)
        finally:
            if span is not None:
                _close(span, scope, method, status, context.request_id)


class ObserveMiddleware:
    """Counts, times and logs requests, and answers what no handler expected without telling the caller about it."""

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        self.metrics.started()
        try:
            await self._answer(scope, receive, send_and_note, lambda: status != 0)
        finally:
            seconds = time.perf_counter() - started
            route = route_template(scope)
            self.metrics.finished(method=scope["method"], route=route, status=status or CALLER_LEFT, seconds=seconds)
            logger.log(
                logging.DEBUG if route in _PROBES else logging.INFO,
                "request",
                extra={
                    "method": scope["method"],
                    "path": scope["path"],
                    "route": route,
                    "status": status or CALLER_LEFT,
                    "duration_s": round(seconds, 6),
                    **({"caller": scope[SCOPE_KEY]} if SCOPE_KEY in scope else {}),
                },
            )

    async def _answer(self, scope: Scope, receive: Receive, send: Send, has_started: Callable[[], bool]) -> None:
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            return
        except WinnowError as error:
            if has_started():
                raise
            await problem_response(error)(scope, receive, send)
        except Exception as error:
            logger.exception("unexpected error", extra={"path": scope["path"]})
            scope[_UNEXPECTED] = error
            if has_started():
                # The status is out already: let the server cut the connection, so that the caller sees a broken answer.
                raise
            await problem_response(Internal("Something went wrong on our side; the request id finds it in our logs."))(
                scope, receive, send
            )


class TokenMiddleware:
    """Asks for `Authorization: Bearer <token>` under /v1, before anything of the body is read."""

    def __init__(self, app: ASGIApp, *, token: SecretStr) -> None:
        self.app = app
        self._expected = token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            scheme, _, given = Headers(scope=scope).get("Authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode("latin-1"), self._expected)
            if scheme.lower() != "bearer" or not right:
                raise Unauthorized("Send the service's token as `Authorization: Bearer <token>`.")
        await self.app(scope, receive, send)


def route_template(scope: Scope) -> str:
    """The template of the route that serves a request, e.g. `/v1/decisions/{id}`; `unmatched` where there is none."""
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) and template else UNMATCHED


def _close(span: spans.Span, scope: Scope, method: str, status: int, request_id: str) -> None:
    route = route_template(scope)
    span.set({"http.response.status_code": status or CALLER_LEFT, "winnow.request_id": request_id})
    if route != UNMATCHED:
        span.rename(f"{method} {route}")
        span.set({"http.route": route})
    unexpected = scope.get(_UNEXPECTED)
    if unexpected is not None:
        span.fail(type(unexpected).__name__, unexpected)
    elif status >= 500:
        span.fail(str(status))
    span.end()
