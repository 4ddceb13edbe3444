"""Spans: nothing without a tracer, the right parents with one, and errors by code."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from services.errors import Overloaded
from services.telemetry import trace
from services.telemetry.spans import Attributes, Span, SpanKind, past_stages, span
from services.telemetry.trace import TraceContext


@dataclass
class Noted:
    """A span that remembers."""

    name: str
    kind: SpanKind
    parent: str
    started_ns: int | None
    attributes: dict[str, object] = field(default_factory=dict)
    error: str | None = None
    ended_ns: list[int | None] = field(default_factory=list)

    def set(self, attributes: Attributes) -> None:
        self.attributes |= attributes

    def rename(self, name: str) -> None:
        self.name = name

    def fail(self, error_type: str, error: BaseException | None = None) -> None:
        self.error = error_type

    def end(self, ended_ns: int | None = None) -> None:
        self.ended_ns.append(ended_ns)


class Notes:
    """A tracer that keeps its spans, and numbers them."""

    def __init__(self) -> None:
        self.spans: list[Noted] = []

    def start(
        self, name: str, kind: SpanKind, context: TraceContext, attributes: Attributes, started_ns: int | None = None
    ) -> tuple[Span, TraceContext]:
        noted = Noted(name, kind, context.span_id, started_ns)
        noted.set(attributes)
        self.spans.append(noted)
        return noted, replace(context, span_id=f"{len(self.spans):016x}")


@pytest.fixture
def notes() -> Iterator[Notes]:
    notes = Notes()
    with trace.use(replace(TraceContext.start("r1"), tracer=notes)):
        yield notes


def test_without_a_tracer_nothing_is_made() -> None:
    with span("decode") as outside, trace.use(TraceContext.start("r1")) as context, span("embed") as inside:
        assert trace.current() is context
        assert inside is outside
        inside.set({"a": 1})
        past_stages({"queue": 1.0})


def test_a_span_is_the_parent_of_what_happens_in_it(notes: Notes) -> None:
    root = trace.current().span_id
    with span("forward", attributes={"frames": 4}), span("POST /v1/rank", kind="client"):
        assert trace.outgoing_headers()["traceparent"].split("-")[2] == f"{2:016x}"
    assert trace.current().span_id == root
    assert [(each.name, each.parent, each.kind) for each in notes.spans] == [
        ("forward", root, "internal"),
        ("POST /v1/rank", f"{1:016x}", "client"),
    ]
    assert notes.spans[0].attributes == {"frames": 4}
    assert all(each.ended_ns == [None] and each.error is None for each in notes.spans)


@pytest.mark.parametrize(("error", "type_"), [(Overloaded("full"), "overloaded"), (KeyError("secret"), "KeyError")])
def test_an_exception_marks_the_span_and_goes_on(notes: Notes, error: Exception, type_: str) -> None:
    with pytest.raises(type(error)), span("decode"):
        raise error
    assert (notes.spans[0].error, notes.spans[0].ended_ns) == (type_, [None])


def test_stages_that_were_timed_elsewhere_follow_one_another(notes: Notes) -> None:
    past_stages({"queue": 0.5, "infer": 1.0})
    queue, infer = notes.spans
    assert queue.started_ns is not None
    assert infer.started_ns == queue.ended_ns[0] == queue.started_ns + 500_000_000
    assert infer.ended_ns == [infer.started_ns + 1_000_000_000]
