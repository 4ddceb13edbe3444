"""What create_service_app gives to every service, over ASGI."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.contracts import ModerationRequest, Problem
from services.deadline import DEADLINE_HEADER
from services.web import app as web_app
from services.web import upload_operation
from services.web.app import installed_version
from tests.unit.platform.conftest import Service, build, raw_call

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def problem(response: httpx.Response, status: int, code: str) -> Problem:
    assert response.headers["Content-Type"] == "application/problem+json"
    body = Problem.model_validate_json(response.content)
    assert (response.status_code, body.status, body.code) == (status, status, code)
    assert body.request_id == response.headers["X-Request-Id"]
    return body


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/v1/items/1", 405, "method_not_allowed"),
        ("GET", "/v1/items/one", 400, "malformed_request"),
        ("GET", "/v1/items/0", 422, "unknown_issue"),
        ("GET", "/v1/items/429", 429, "overloaded"),
        ("GET", "/v1/boom", 500, "internal"),
    ],
)
async def test_every_error_is_a_problem(service: Service, method: str, path: str, status: int, code: str) -> None:
    async with service.client() as client:
        problem(await client.request(method, path), status, code)


async def test_headers_of_errors(service: Service) -> None:
    async with service.client() as client:
        assert (await client.get("/v1/items/429")).headers["Retry-After"] == "2"
        assert (await client.delete("/v1/items/1")).headers["Allow"] == "GET"


async def test_a_wrong_body_names_its_fields_and_does_not_repeat_them(service: Service) -> None:
    async with service.client() as client:
        body = problem(
            await client.post("/v1/notes", json={"title": "hunter2" * 3, "colour": 1}), 422, "invalid_payload"
        )
        assert {e.pointer for e in body.errors} == {"body/title", "body/colour"}
        assert "hunter2" not in body.model_dump_json()
        problem(
            await client.post("/v1/notes", content=b"{", headers={"Content-Type": "application/json"}),
            400,
            "malformed_request",
        )


async def test_the_unexpected_is_logged_and_not_told(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    async with service.client() as client:
        body = problem(await client.get("/v1/boom"), 500, "internal")
        assert (await client.get("/v1/items/1")).status_code == 200
    assert "hunter2" not in body.model_dump_json()
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "hunter2" in str(record.exc_info[1] if record.exc_info else None)


async def test_ids_are_taken_over_or_made(service: Service) -> None:
    async with service.client() as client:
        sent = {"X-Request-Id": "mine-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        kept = await client.get("/v1/items/1", headers=sent)
        made = await client.get("/v1/items/1", headers={"X-Request-Id": "not usable!", "traceparent": "?"})
    assert kept.headers["X-Request-Id"] == "mine-1"
    assert kept.headers["traceparent"].split("-")[1] == TRACE
    assert made.headers["X-Request-Id"] not in ("", "not usable!")
    assert made.headers["traceparent"].split("-")[1] != TRACE


async def test_metrics_are_labelled_by_template(service: Service) -> None:
    name = "winnow_http_requests_total"
    async with service.client() as client:
        for path in ("/v1/items/1", "/v1/items/2", "/v1/items/0", "/nowhere/1", "/nowhere/2", "/v1/boom"):
            await client.get(path)
        await client.request("BREW", "/v1/items/1")
        await client.delete("/v1/items/1")
        text = (await client.get("/metrics")).text
    assert service.sample(name, method="GET", route="/v1/items/{item}", status="200") == 2
    assert service.sample(name, method="GET", route="/v1/items/{item}", status="422") == 1
    assert service.sample(name, method="GET", route="unmatched", status="404") == 2
    assert service.sample(name, method="GET", route="/v1/boom", status="500") == 1
    assert service.sample(name, method="other", route="/v1/items/{item}", status="405") == 1
    duration = "winnow_http_request_duration_seconds_count"
    assert service.sample(duration, method="GET", route="/v1/items/{item}") == 3
    assert service.sample("winnow_http_requests_in_flight") == 0
    assert 'winnow_http_requests_in_flight{service="sample"} 1.0' in text
    assert "/nowhere" not in text


async def test_the_access_log_has_template_status_and_duration(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with service.client() as client:
        await client.get("/v1/items/1?secret=hunter2")
        await client.get("/health/live")
    (record,) = [r.__dict__ for r in caplog.records if r.name == "services.web.middleware"]
    assert (record["route"], record["path"], record["status"]) == ("/v1/items/{item}", "/v1/items/1", 200)
    assert record["duration_s"] >= 0


async def test_health(service: Service) -> None:
    async with service.client() as client:
        assert (await client.get("/health/live")).json() == {"status": "ok", "missing": {}}
        assert (await client.get("/health/ready")).status_code == 200
        service.missing = {"router": "connection refused"}
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["missing"]) == (503, service.missing)
        assert (await client.get("/health/live")).status_code == 200
        service.missing = {"explode": ""}
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert "secret" not in answer.text


async def test_token(tmp_path: Path) -> None:
    async with build(tmp_path, token="right").client() as client:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic right"},
            {"Authorization": "right"},
        ):
            answer = await client.get("/v1/items/1", headers=headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await client.get("/v1/items/1", headers={"Authorization": "Bearer right"})).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:8081", "http://127.0.0.1:8081", 200),
        ("127.0.0.1:8081", "https://evil.example", 403),
        ("127.0.0.1:8081", "http://localhost:3000", 403),
        ("127.0.0.1:8081", "null", 403),
        ("evil.example:8081", "http://evil.example:8081", 403),
    ],
)
async def test_pages_of_other_sites_cannot_use_a_service_without_token(
    service: Service, tmp_path: Path, host: str, origin: str, status: int
) -> None:
    headers = {"Host": host, "Origin": origin}
    async with service.client() as client:
        assert (await client.post("/v1/notes", json={"title": "a"}, headers=headers)).status_code == status
    async with build(tmp_path / "x", token="s3cret").client(headers={"Authorization": "Bearer s3cret"}) as client:
        assert (await client.post("/v1/notes", json={"title": "a"}, headers=headers)).status_code == 200


async def test_a_body_that_is_too_large_is_refused(service: Service) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 100

    json = {"Content-Type": "application/json"}
    async with service.client() as client:
        problem(await client.post("/v1/notes", content=b" " * 2_001, headers=json), 413, "too_large")
        problem(await client.post("/v1/notes", content=chunks(), headers=json), 413, "too_large")
        assert (await client.post("/v1/notes", content=b'{"title": "x"}', headers=json)).status_code == 200


async def test_a_body_that_does_not_come_is_not_waited_for(service: Service) -> None:
    first = {"type": "http.request", "body": b'{"ti', "more_body": True}
    sent = await raw_call(service.app, [first], path="/v1/notes", headers={"Content-Type": "application/json"})
    assert sent[0]["status"] == 408


async def test_work_may_take_longer_than_its_body(service: Service) -> None:
    sent = await raw_call(service.app, [{"type": "http.request", "body": b"{}"}], path="/v1/patient")
    assert (sent[0]["status"], sent[1]["body"]) == (200, b'"still there"')


async def test_a_caller_that_leaves_is_counted_and_not_answered(service: Service) -> None:
    messages: list[Any] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent = await raw_call(service.app, messages, path="/v1/notes", headers={"Content-Type": "application/json"})
    assert sent == []
    assert service.sample("winnow_http_requests_total", method="POST", route="/v1/notes", status="499") == 1


async def test_openapi(tmp_path: Path) -> None:
    async with build(tmp_path, token="t").client() as client:
        document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert {"Problem", "FieldProblem", "Health"} <= set(schemas)
    assert "HTTPValidationError" not in schemas
    note = document["paths"]["/v1/notes"]["post"]
    item = document["paths"]["/v1/items/{item}"]["get"]
    for responses, status in ((note["responses"], "422"), (item["responses"], "429"), (item["responses"], "default")):
        content = responses[status]["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
    example = item["responses"]["429"]["content"]["application/problem+json"]["examples"]["overloaded"]["value"]
    assert Problem.model_validate(example).retryable
    assert note["security"] == [{"serviceToken": []}]
    assert "security" not in document["paths"]["/health/live"]["get"]


async def test_requests_do_not_share_their_ids(service: Service) -> None:
    async with service.client() as client:
        answers = await asyncio.gather(*(client.get("/v1/items/1") for _ in range(10)))
    assert len({a.headers["X-Request-Id"] for a in answers}) == 10


def test_the_version_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_app, "DISTRIBUTION", "httpx")
    assert installed_version() == httpx.__version__
    monkeypatch.setattr(web_app, "DISTRIBUTION", "winnow-that-is-not-installed")
    assert installed_version() == "0+unknown"


def test_an_upload_operation_has_no_references_and_names_the_deadline() -> None:
    operation = upload_operation(ModerationRequest, required=False, description="What is asked.")
    assert "$ref" not in str(operation)
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["video"]
    assert form["properties"]["request"]["description"] == "What is asked."
    assert form["properties"]["request"]["properties"]["context"]["properties"]["title"]["maxLength"] == 1000
    assert [each["name"] for each in operation["parameters"]] == [DEADLINE_HEADER]
