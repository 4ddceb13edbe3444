"""The request id and the W3C trace context of the work at hand, and the headers that carry them on."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from services.telemetry.spans import Tracer

REQUEST_ID_HEADER = "X-Request-Id"
TRACEPARENT_HEADER = "traceparent"
TRACESTATE_HEADER = "tracestate"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
# W3C Trace Context, section 3.3.1.5: at least 512 characters should be propagated; longer values may be dropped.
_MAX_TRACESTATE = 512


@dataclass(frozen=True)
class TraceContext:
    """Where in a trace the work at hand stands.

    Attributes:
        trace_id: 32 lower-case hexadecimal digits, not all zero.
        span_id: 16 lower-case hexadecimal digits, not all zero: this service's part of the trace.
        request_id: names the request in logs and errors, 1 to 64 of `[A-Za-z0-9._-]`.
        flags: two hexadecimal digits; 01 means sampled.
        tracestate: vendors' data, passed on unread.
        parent_id: 16 lower-case hexadecimal digits: the caller's span, where it named one.
        tracer: makes spans of the work; None where traces are off or this one is not sampled.
    """

    trace_id: str
    span_id: str
    request_id: str
    flags: str = "01"
    tracestate: str | None = None
    parent_id: str | None = None
    tracer: "Tracer | None" = field(default=None, compare=False, repr=False)

    @classmethod
    def start(cls, request_id: str | None = None) -> Self:
        """A new trace; an unusable request id is replaced by one of ours."""
        usable = request_id is not None and _REQUEST_ID.fullmatch(request_id)
        return cls(
            trace_id=secrets.token_hex(16),
            span_id=secrets.token_hex(8),
            request_id=request_id if request_id is not None and usable else secrets.token_hex(12),
        )

    @classmethod
    def from_headers(cls, *, request_id: str | None, traceparent: str | None, tracestate: str | None = None) -> Self:
        """Go on with the caller's trace under a span of our own; start one where the caller's is absent or invalid."""
        fresh = cls.start(request_id)
        match = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
        if match is None:
            return fresh
        version, trace_id, parent_id, flags, rest = match.groups()
        invalid = version == "ff" or (version == "00" and rest) or not trace_id.strip("0") or not parent_id.strip("0")
        if invalid:
            return fresh
        kept = tracestate if tracestate and len(tracestate) <= _MAX_TRACESTATE else None
        return replace(fresh, trace_id=trace_id, flags=flags, tracestate=kept, parent_id=parent_id)

    @property
    def traceparent(self) -> str:
        """The value of the `traceparent` header, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


_current: ContextVar[TraceContext | None] = ContextVar("winnow_trace", default=None)


def current_or_none() -> TraceContext | None:
    """The context of the request that is being served, or None outside of one."""
    return _current.get()


def current() -> TraceContext:
    """The context of the request that is being served; outside of one, a new trace at every call."""
    return _current.get() or TraceContext.start()


@contextmanager
def use(context: TraceContext) -> Iterator[TraceContext]:
    """Make `context` the current one for the block, and for the tasks and worker threads started in it."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def outgoing_headers() -> dict[str, str]:
    """The headers that carry the current context to another service; outside of a request, a request id alone."""
    context = current_or_none()
    if context is None:
        # A span that nobody made would be the parent of the other service's.
        return {REQUEST_ID_HEADER: TraceContext.start().request_id}
    headers = {TRACEPARENT_HEADER: context.traceparent, REQUEST_ID_HEADER: context.request_id}
    if context.tracestate is not None:
        headers[TRACESTATE_HEADER] = context.tracestate
    return headers
