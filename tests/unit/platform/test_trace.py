"""Request ids, W3C trace context, and the lines that the logs write of them."""

import asyncio
import io
import json
import logging
import subprocess
import sys

import pytest

from services.telemetry import trace
from services.telemetry.logs import TraceFilter, json_formatter
from services.telemetry.trace import TraceContext

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def taken(traceparent: str | None, **headers: str) -> TraceContext:
    return TraceContext.from_headers(request_id=headers.get("request_id"), traceparent=traceparent)


def test_the_callers_trace_goes_on_under_a_new_span() -> None:
    context = taken(f"00-{TRACE}-{SPAN}-00", request_id="abc.DEF_1-2")
    assert (context.trace_id, context.flags, context.request_id) == (TRACE, "00", "abc.DEF_1-2")
    assert context.span_id != SPAN
    assert taken(context.traceparent).trace_id == TRACE


def test_a_later_version_may_say_more() -> None:
    assert taken(f"01-{TRACE}-{SPAN}-01-more").trace_id == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
def test_otherwise_a_new_trace_starts(header: str | None) -> None:
    one, other = taken(header), taken(header)
    assert one.trace_id not in (TRACE, "0" * 32, other.trace_id)
    assert len(one.trace_id) == 32


@pytest.mark.parametrize("request_id", [None, "", "a" * 65, "has space", "new\nline", "ümlaut"])
def test_an_unusable_request_id_is_replaced(request_id: str | None) -> None:
    made = TraceContext.start(request_id).request_id
    assert made != request_id
    assert TraceContext.start(made).request_id == made


def test_outside_of_a_request_no_span_is_named_as_a_parent() -> None:
    assert set(trace.outgoing_headers()) == {"X-Request-Id"}


async def test_outgoing_headers_follow_the_request_into_tasks() -> None:
    context = TraceContext.from_headers(request_id="r1", traceparent=f"00-{TRACE}-{SPAN}-01", tracestate="v=1")

    async def headers() -> dict[str, str]:
        return trace.outgoing_headers()

    with trace.use(context):
        inside = await asyncio.create_task(headers())
    assert inside == {"traceparent": context.traceparent, "X-Request-Id": "r1", "tracestate": "v=1"}
    assert trace.current_or_none() is None


def test_a_log_line_is_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(json_formatter("router"))
    handler.addFilter(TraceFilter())
    logger = logging.getLogger("router_svc.decode")
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "propagate", False)
    with trace.use(TraceContext.start("r1")) as context:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("frames of %s", "äclip", extra={"frames": 8})
        finally:
            logger.removeHandler(handler)
    line = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert line.pop("ts").endswith("+00:00")
    assert "ValueError: two\nlines" in line.pop("exception")
    assert line == {
        "level": "ERROR",
        "logger": "router_svc.decode",
        "msg": "frames of äclip",
        "service": "router",
        "request_id": "r1",
        "trace_id": context.trace_id,
        "frames": 8,
    }


def test_configure_takes_every_logger_of_the_process() -> None:
    program = """
import logging, warnings
from services.telemetry import logs
logs.configure("gateway", "info")
logging.getLogger("uvicorn.error").info("started", extra={"color_message": "x"})
logging.getLogger("uvicorn.access").info("never")
logging.getLogger("anything").debug("never")
warnings.warn("careful")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("uvicorn.error", "INFO"),
        ("py.warnings", "WARNING"),
    ]
    assert "color_message" not in lines[0]
    assert done.stdout == ""
