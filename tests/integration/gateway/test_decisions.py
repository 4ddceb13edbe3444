"""Decisions by the gateway's public API: what is answered, kept, counted, and left behind."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.store import MemoryStore
from services.contracts import Decision
from services.deadline import DEADLINE_HEADER
from services.errors import Internal, NotReady, Overloaded
from tests.integration.gateway.conftest import Running, Start


async def decided(running: Running, **kwargs: Any) -> Decision:
    response = await running.moderate(**kwargs)
    assert response.status_code == 200, response.text
    return Decision.model_validate_json(response.content)


async def test_a_video_that_the_router_lets_pass(gateway: Running) -> None:
    video = b"some bytes" * 1000
    request = json.dumps({"context": {"title": "Bonfire", "metadata": {"k": "v"}}, "mode": "full"})
    response = await gateway.moderate(video, request, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    decision = Decision.model_validate_json(response.content)
    assert (decision.verdict, decision.route, decision.mode) == ("allow", "filtered", "full")
    assert decision.sha256 == hashlib.sha256(video).hexdigest()
    assert decision.trace_id == "a" * 32
    assert decision.request_id == response.headers["X-Request-Id"]
    assert [issue.id for issue in decision.issues] == ["arson", "smoking"]
    assert decision.issues[0].evidence[0].frame_time_s == 1.5
    assert set(decision.timings.stages) == {"upload", "cache", "router", "decode"}
    asked, sent, headers = gateway.router.asked[0]
    assert sent == video
    assert (asked.sha256, asked.context.title, asked.mode) == (decision.sha256, "Bonfire", "full")
    assert headers["traceparent"].split("-")[1] == "a" * 32
    assert 0 < int(headers["winnow-deadline-ms"]) <= 30_000


async def test_a_video_that_the_ranker_judged(gateway: Running) -> None:
    gateway.router.risks["arson"] = 0.9
    gateway.router.ranks = {"arson": 0.95, "smoking": 0.2}
    decision = await decided(gateway)
    assert (decision.verdict, decision.route) == ("block", "refined")
    assert [(issue.verdict, issue.reason) for issue in decision.issues] == [
        ("block", "ranker_probability"),
        ("allow", "ranker_probability"),
    ]
    assert decision.models.model_dump() == {
        "encoder": "enc-print",
        "bank_revision": "rev-1",
        "ranker": "rank-print",
        "engine": "reference",
        "calibrators": ("cal-1",),
    }
    assert decision.warnings == ("issue `theft` has no seeds", "calibrator fitted for another model")
    assert decision.timings.stages["rank_prefill"] == 0.2


async def test_a_decision_can_be_read_again(gateway: Running) -> None:
    response = await gateway.moderate()
    again = await gateway.client.get(f"/v1/decisions/{response.json()['id']}")
    assert again.status_code == 200
    assert again.json() == response.json()


async def test_a_decision_survives_a_restart(start: Start) -> None:
    first = await start()
    decision = await decided(first)
    await first.stop()
    second = await start()
    assert (await second.client.get(f"/v1/decisions/{decision.id}")).json()["sha256"] == decision.sha256


async def test_an_unknown_decision_is_not_found(gateway: Running) -> None:
    response = await gateway.client.get("/v1/decisions/dec_nothing")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_only_the_issues_asked_for_are_judged(gateway: Running) -> None:
    decision = await decided(gateway, request='{"issues": ["smoking"]}')
    assert [issue.id for issue in decision.issues] == ["smoking"]
    assert [issue.id for issue in gateway.router.asked[0][0].policy.issues] == ["smoking"]


async def test_the_policy_can_be_read(gateway: Running) -> None:
    policy = (await gateway.client.get("/v1/policy")).json()
    assert policy["policy_hash"] == (await decided(gateway)).policy_hash
    assert policy["issues"][0] == {
        "id": "arson",
        "name": "arson",
        "definition": "Fire at a house.",
        "router_threshold": 0.5,
        "review_threshold": 0.4,
        "block_threshold": 0.8,
    }


@pytest.mark.parametrize(
    ("issue", "verdict"), [("arson", "review"), ("smoking", "allow")], ids=["policy's mode", "issue's own mode"]
)
async def test_a_missing_ranker_is_a_fail_mode(gateway: Running, issue: str, verdict: str) -> None:
    gateway.router.risks[issue] = 0.9
    gateway.router.rank_missing = "unavailable"
    decision = await decided(gateway)
    assert (decision.verdict, decision.route, decision.rank_missing) == (verdict, "degraded", "unavailable")
    assert await gateway.metric('winnow_gateway_degraded_total{reason="ranker_unavailable"}') == 1


async def test_an_unreachable_router_is_a_fail_mode(start: Start) -> None:
    running = await start(reachable=False)
    decision = await decided(running)
    assert (decision.verdict, decision.route, decision.media) == ("block", "degraded", None)
    assert {issue.reason for issue in decision.issues} == {"router_missing"}
    assert await running.metric('winnow_gateway_degraded_total{reason="router_unavailable"}') == 1
    assert running.spooled() == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Overloaded("x"), "overloaded"), (NotReady("x"), "unavailable"), (Internal("x"), "unavailable")],
)
async def test_a_router_that_fails_is_a_fail_mode(gateway: Running, error: Any, reason: str) -> None:
    gateway.router.error = error
    decision = await decided(gateway)
    assert (decision.verdict, decision.route) == ("block", "degraded")
    assert await gateway.metric(f'winnow_gateway_degraded_total{{reason="router_{reason}"}}') == 1


async def test_a_decision_that_cannot_be_recorded_is_not_given(start: Start) -> None:
    store = MemoryStore()
    running = await start(store=store)
    store.available = False
    response = await running.moderate()
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert "Retry-After" in response.headers
    assert (await running.client.get(f"/v1/decisions/dec_{0:032x}")).status_code == 503
    assert (await running.client.get("/health/ready")).json()["missing"].keys() == {"database"}
    assert running.spooled() == []
    store.available = True
    decision = await decided(running)
    assert list(store.decisions) == [decision.id]
    assert store.requests[decision.id].mode == "cascade"


async def test_a_database_that_cannot_be_opened_leaves_the_gateway_unready(start: Start, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("not a directory", encoding="utf-8")
    running = await start(database_url=f"sqlite:///{tmp_path}/file/x.db")
    assert (await running.client.get("/health/live")).status_code == 200
    response = await running.client.get("/health/ready")
    assert (response.status_code, list(response.json()["missing"])) == (503, ["database"])
    assert (await running.moderate()).status_code == 503


async def test_a_deadline_that_passes_while_the_router_works(gateway: Running) -> None:
    gateway.router.delay_s = 60.0
    response = await gateway.moderate(**{DEADLINE_HEADER: "150"})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert gateway.router.cancelled == 1
    assert gateway.spooled() == []


async def test_work_is_dropped_when_the_client_leaves(gateway: Running) -> None:
    gateway.router.delay_s = 60.0
    body = b'--x\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\nbytes\r\n--x--\r\n'
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/decisions",
        "raw_path": b"/v1/decisions",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gateway.router.started.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(10):
        await gateway.serve(scope, receive, send)
    assert gateway.router.cancelled == 1
    assert sent == []
    assert gateway.spooled() == []


async def test_more_work_than_allowed_is_refused_before_its_body_is_read(start: Start) -> None:
    running = await start(max_concurrent_decisions=1)
    running.router.delay_s = 60.0
    first = asyncio.create_task(running.moderate())
    await running.router.started.wait()
    response = await running.moderate()
    assert (response.status_code, response.json()["code"]) == (429, "overloaded")
    assert response.headers["Retry-After"] == "1"
    assert len(running.spooled()) == 1
    running.app.state.admission.drain(0.0)
    stopped = await first
    assert (stopped.status_code, stopped.json()["code"]) == (503, "not_ready")
    assert (await running.moderate()).json()["code"] == "not_ready"
    assert running.spooled() == []


async def test_readiness_names_the_router(gateway: Running) -> None:
    assert (await gateway.client.get("/health/ready")).json() == {"status": "ok", "missing": {}}
    gateway.router.ready = False
    response = await gateway.client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["missing"] == {"router": "bank: loading"}


async def test_what_is_counted(gateway: Running) -> None:
    gateway.router.risks["arson"] = 0.9
    gateway.router.ranks = {"arson": 0.5}
    decision = await decided(gateway)
    await gateway.client.get(f"/v1/decisions/{decision.id}")
    await gateway.client.get("/v1/decisions/other")
    http = 'winnow_http_requests_total{method="%s",route="%s",service="gateway",status="%s"}'
    assert await gateway.metric('winnow_gateway_decisions_total{route="refined",verdict="review"}') == 1
    assert await gateway.metric('winnow_gateway_verdicts_total{issue="arson",verdict="review"}') == 1
    assert await gateway.metric('winnow_gateway_verdicts_total{issue="smoking",verdict="allow"}') == 1
    assert await gateway.metric('winnow_gateway_escalations_total{issue="arson"}') == 1
    assert await gateway.metric('winnow_gateway_escalations_total{issue="smoking"}') == 0
    for stage in ("upload", "router", "record"):
        assert await gateway.metric(f'winnow_gateway_stage_duration_seconds_count{{stage="{stage}"}}') == 1
    assert await gateway.metric("winnow_gateway_spool_bytes") == 0
    assert await gateway.metric(http % ("POST", "/v1/decisions", 200)) == 1
    assert await gateway.metric(http % ("GET", "/v1/decisions/{decision_id}", 200)) == 1
    assert await gateway.metric(http % ("GET", "/v1/decisions/{decision_id}", 404)) == 1


async def test_the_api_describes_itself(gateway: Running) -> None:
    document = (await gateway.client.get("/openapi.json")).json()
    decide = document["paths"]["/v1/decisions"]["post"]
    form = decide["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["required"] == ["video"]
    assert "context" in form["schema"]["properties"]["request"]["properties"]
    assert {"400", "408", "413", "415", "422", "429", "503", "504", "507"} <= decide["responses"].keys()
    assert decide["parameters"][0]["name"] == DEADLINE_HEADER
    assert (await gateway.client.get("/docs")).status_code == 200


async def test_an_upload_that_is_still_arriving_at_shutdown_is_refused(gateway: Running) -> None:
    half, never = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\nhalf'
        half.set()
        await never.wait()

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    sending = asyncio.create_task(gateway.client.post("/v1/decisions", content=body(), headers=headers))
    await half.wait()
    gateway.app.state.admission.stopped.set()
    response = await asyncio.wait_for(sending, 5)
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert gateway.spooled() == []


async def test_the_database_is_not_asked_about_an_id_that_it_never_gave(start: Start) -> None:
    store = MemoryStore()
    running = await start(store=store)
    store.available = False
    for strange in ("dec_1", "%00", "x" * 5_000, f"DEC_{0:032x}"):
        assert (await running.client.get(f"/v1/decisions/{strange}")).status_code == 404
