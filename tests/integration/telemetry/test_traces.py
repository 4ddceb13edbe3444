"""Traces of the three services as they arrive at a collector."""

import secrets

import httpx

from tests.integration.telemetry.collector import Seen
from tests.integration.telemetry.conftest import TITLE, Stack

GATEWAY, ROUTER, RANKER = "winnow-gateway", "winnow-router", "winnow-ranker"
SERVER, CLIENT = 2, 3
CALLER = "00f067aa0ba902b7"


def whole(stack: Stack, trace_id: str) -> list[Seen]:
    """The spans of a trace once the gateway's own, which ends last, is there with those of the others."""
    wanted = {(GATEWAY, SERVER), (ROUTER, SERVER), (RANKER, SERVER)}
    stack.collector.wait_for(lambda: wanted <= {(span.service, span.kind) for span in stack.collector.of(trace_id)})
    return stack.collector.of(trace_id)


def test_one_trace_covers_an_escalated_request(stack: Stack) -> None:
    trace_id = secrets.token_hex(16)
    decision = stack.moderate(f"00-{trace_id}-{CALLER}-01", mode="full")
    assert (decision.trace_id, decision.route) == (trace_id, "refined")
    spans = whole(stack, trace_id)
    by_id = {span.span_id: span for span in spans}

    def one(service: str, name: str) -> Seen:
        (found,) = [span for span in spans if (span.service, span.name) == (service, name)]
        return found

    def above(span: Seen) -> tuple[str, str]:
        return by_id[span.parent_id].service, by_id[span.parent_id].name

    root = one(GATEWAY, "POST /v1/decisions")
    assert (root.kind, root.parent_id) == (SERVER, CALLER)
    parents = {
        (GATEWAY, "upload"): (GATEWAY, "POST /v1/decisions"),
        (GATEWAY, "router"): (GATEWAY, "POST /v1/decisions"),
        (GATEWAY, "record"): (GATEWAY, "POST /v1/decisions"),
        (ROUTER, "decode"): (ROUTER, "POST /v1/route"),
        (ROUTER, "embed"): (ROUTER, "POST /v1/route"),
        (ROUTER, "encode"): (ROUTER, "embed"),
        (ROUTER, "search"): (ROUTER, "POST /v1/route"),
        (ROUTER, "forward"): (ROUTER, "POST /v1/route"),
        (RANKER, "decode"): (RANKER, "POST /v1/rank"),
        (RANKER, "answer"): (RANKER, "POST /v1/rank"),
        (RANKER, "queue"): (RANKER, "answer"),
        (RANKER, "infer"): (RANKER, "answer"),
    }
    assert {each: above(one(*each)) for each in parents} == parents
    for caller, called, stage in ((GATEWAY, ROUTER, "router"), (ROUTER, RANKER, "forward")):
        name = "POST /v1/route" if called == ROUTER else "POST /v1/rank"
        asked, served = one(caller, name), one(called, name)
        assert (asked.kind, served.kind) == (CLIENT, SERVER)
        assert (above(asked), served.parent_id) == ((caller, stage), asked.span_id)
        assert asked.start_ns <= served.start_ns <= served.end_ns
    assert root.attributes["http.route"] == "/v1/decisions"
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["winnow.request_id"] == decision.request_id
    assert not any(span.failed for span in spans)


def test_no_span_holds_what_the_client_sent(stack: Stack) -> None:
    trace_id = secrets.token_hex(16)
    stack.moderate(f"00-{trace_id}-{CALLER}-01", mode="full")
    told = str(whole(stack, trace_id))
    assert TITLE not in told
    assert "private-name" not in told
    assert str(stack.clip.parent) not in told


def test_without_a_caller_a_trace_of_our_own_starts(stack: Stack) -> None:
    decision = stack.moderate(mode="full")
    roots = [span for span in whole(stack, decision.trace_id) if not span.parent_id]
    assert [(span.service, span.name) for span in roots] == [(GATEWAY, "POST /v1/decisions")]


def test_a_trace_that_the_caller_does_not_sample_is_carried_and_not_exported(stack: Stack) -> None:
    unsampled, sampled = secrets.token_hex(16), secrets.token_hex(16)
    assert stack.moderate(f"00-{unsampled}-{CALLER}-00", mode="full").trace_id == unsampled
    stack.moderate(f"00-{sampled}-{CALLER}-01", mode="full")
    whole(stack, sampled)
    assert stack.collector.of(unsampled) == []


def test_a_failure_is_marked_where_it_happened(stack: Stack) -> None:
    trace_id = secrets.token_hex(16)
    response = stack.gateway.post(
        "/v1/decisions",
        files={"video": ("clip.mp4", b"not a video at all", "video/mp4")},
        headers={"traceparent": f"00-{trace_id}-{CALLER}-01"},
    )
    assert response.status_code == 415
    stack.collector.wait_for(lambda: {GATEWAY, ROUTER} <= {s.service for s in stack.collector.of(trace_id)})
    stack.collector.wait_for(
        lambda: any(s.kind == SERVER and s.service == GATEWAY for s in stack.collector.of(trace_id))
    )
    failed = {(s.service, s.name): s.attributes["error.type"] for s in stack.collector.of(trace_id) if s.failed}
    assert failed[(ROUTER, "decode")] == "not_a_video"
    assert failed[(GATEWAY, "POST /v1/route")] == "415"
    # A client's mistake is no failure of the service that tells it so.
    assert (GATEWAY, "POST /v1/decisions") not in failed


def test_probes_and_scrapes_have_no_spans(stack: Stack) -> None:
    for service in ("gateway", "router", "ranker"):
        for path in ("/health/live", "/health/ready", "/metrics"):
            httpx.get(stack.url(service) + path, trust_env=False)
    # Later spans of all three services have arrived: those of the probes would have, too.
    whole(stack, stack.moderate(mode="full").trace_id)
    names = {span.name for span in stack.collector.spans}
    assert not {name for name in names if "/health" in name or "/metrics" in name}
