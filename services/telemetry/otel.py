"""Spans by the OpenTelemetry SDK, exported as OTLP over HTTP; the one module that imports it."""

import traceback
import uuid
from dataclasses import replace

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Span as OpenTelemetrySpan

from services.telemetry import spans
from services.telemetry.trace import TraceContext

_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}


class OtelSpan:
    """See services.telemetry.spans.Span."""

    def __init__(self, span: OpenTelemetrySpan) -> None:
        self._span = span

    def set(self, attributes: spans.Attributes) -> None:
        """Add or replace attributes."""
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._span.update_name(name)

    def fail(self, error_type: str, error: BaseException | None = None) -> None:
        """Mark it as failed, with the stack trace of `error` where that is given."""
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(Status(StatusCode.ERROR, error_type))
        if error is not None:
            stack = "".join(traceback.format_tb(error.__traceback__))
            self._span.add_event("exception", {"exception.type": error_type, "exception.stacktrace": stack})

    def end(self, ended_ns: int | None = None) -> None:
        """Close it and hand it to the exporter's queue; never blocks."""
        self._span.end(ended_ns)


class OtelTracer:
    """See services.telemetry.spans.Tracer. A thread of its own exports; a full queue drops the oldest spans.

    Nothing is registered globally, and the SDK's own context is not used: the parent always comes from our
    TraceContext, so that logs, headers, decisions and spans name the same trace.

    Args:
        url: where spans are posted.
        service_name: unless `service.name` stands in OTEL_RESOURCE_ATTRIBUTES.
        version: of the service.
        timeout_s: seconds for one export.
    """

    def __init__(self, url: str, *, service_name: str, version: str, timeout_s: float) -> None:
        ours = Resource(
            {"service.name": service_name, "service.version": version, "service.instance.id": str(uuid.uuid4())}
        )
        resource = Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)
        # The sampler and the sizes of the queue come from OTEL_TRACES_SAMPLER and OTEL_BSP_*.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=url, timeout=timeout_s)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("winnow", version)

    def start(
        self,
        name: str,
        kind: spans.SpanKind,
        context: TraceContext,
        attributes: spans.Attributes,
        started_ns: int | None = None,
    ) -> tuple[OtelSpan, TraceContext]:
        """Open a span; a server's continues the caller's span, any other one that of the context."""
        parent_id = context.parent_id if kind == "server" else context.span_id
        started = self._tracer.start_span(
            name,
            Context() if parent_id is None else _parent(context, parent_id, remote=kind == "server"),
            _KINDS[kind],
            attributes,
            start_time=started_ns,
        )
        at = started.get_span_context()
        inside = replace(
            context,
            trace_id=f"{at.trace_id:032x}",
            span_id=f"{at.span_id:016x}",
            flags=f"{int(at.trace_flags):02x}",
            parent_id=parent_id,
            # Without a sampled parent nothing below is sampled: nothing below needs to ask.
            tracer=self if started.is_recording() else None,
        )
        return OtelSpan(started), inside

    def close(self) -> None:
        """Export what is left. Blocks, for long where the collector hangs."""
        self._provider.shutdown()


def _parent(context: TraceContext, span_id: str, *, remote: bool) -> Context:
    state = TraceState() if context.tracestate is None else TraceState.from_header([context.tracestate])
    flags = TraceFlags(int(context.flags, 16))
    at = SpanContext(int(context.trace_id, 16), int(span_id, 16), remote, flags, state)
    return set_span_in_context(NonRecordingSpan(at), Context())
