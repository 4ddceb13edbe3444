"""Spans of the work at hand: what a tracer is, and no-ops of no cost where there is none."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol

from services.errors import WinnowError
from services.telemetry import trace
from services.telemetry.trace import TraceContext

SpanKind = Literal["server", "client", "internal"]
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """A part of a trace. Attributes never hold a video, a text, a key or a token."""

    def set(self, attributes: Attributes) -> None:
        """Add or replace attributes."""
        ...

    def rename(self, name: str) -> None:
        """Give it another name."""
        ...

    def fail(self, error_type: str, error: BaseException | None = None) -> None:
        """Mark it as failed.

        Args:
            error_type: an error code, the name of an exception's class, or an HTTP status; few values.
            error: where the stack trace matters; its message is left out, since it may quote the client.
        """
        ...

    def end(self, ended_ns: int | None = None) -> None:
        """Close it, at this time (nanoseconds since the epoch) or now."""
        ...


class Tracer(Protocol):
    """Makes spans; see services.telemetry.otel."""

    def start(
        self,
        name: str,
        kind: SpanKind,
        context: TraceContext,
        attributes: Attributes,
        started_ns: int | None = None,
    ) -> tuple[Span, TraceContext]:
        """Open a span, and give the context of the work in it.

        Args:
            name: few values: a stage, or a method and a route template.
            kind: `server` continues the caller's span, the others the span of `context`.
            context: where the work stands. In the result `tracer` is None if the trace is not sampled.
            attributes: known at the start.
            started_ns: nanoseconds since the epoch; now if None.
        """
        ...


class _NoSpan:
    """Takes everything and keeps nothing."""

    def set(self, attributes: Attributes) -> None: ...

    def rename(self, name: str) -> None: ...

    def fail(self, error_type: str, error: BaseException | None = None) -> None: ...

    def end(self, ended_ns: int | None = None) -> None: ...


_OFF: nullcontext[Span] = nullcontext(_NoSpan())
_NO_ATTRIBUTES: Attributes = {}


def span(
    name: str, *, kind: SpanKind = "internal", attributes: Attributes = _NO_ATTRIBUTES
) -> AbstractContextManager[Span]:
    """A span around the block, below the one at hand; an exception that leaves the block marks it as failed."""
    context = trace.current_or_none()
    if context is None or context.tracer is None:
        return _OFF
    return _opened(context.tracer, context, name, kind, attributes)


def past_stages(stages: Mapping[str, float]) -> None:
    """Spans of consecutive stages, in seconds, that ended just now: for work that was timed where no span can be."""
    context = trace.current_or_none()
    if context is None or context.tracer is None:
        return
    at_ns = time.time_ns() - int(sum(stages.values()) * 1e9)
    for name, seconds in stages.items():
        opened, _ = context.tracer.start(name, "internal", context, _NO_ATTRIBUTES, at_ns)
        at_ns += int(seconds * 1e9)
        opened.end(at_ns)


def error_type(error: BaseException) -> str:
    """The code of an error of ours, otherwise the name of its class."""
    return error.code if isinstance(error, WinnowError) else type(error).__name__


@contextmanager
def _opened(tracer: Tracer, context: TraceContext, name: str, kind: SpanKind, attributes: Attributes) -> Iterator[Span]:
    opened, inside = tracer.start(name, kind, context, attributes)
    with trace.use(inside):
        try:
            yield opened
        except BaseException as error:
            opened.fail(error_type(error))
            raise
        finally:
            opened.end()
