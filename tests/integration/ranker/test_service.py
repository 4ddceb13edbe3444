"""The ranker over HTTP, with the deterministic engine: contract, limits, overload, deadlines, departures."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ranker_svc.app import create_app
from ranker_svc.engines.deterministic import DeterministicEngine
from ranker_svc.settings import Settings
from services.calibration import Calibrator, FittedFor, TemperatureMap
from services.contracts import RankResult

Body = Callable[..., dict[str, Any]]


@asynccontextmanager
async def service(tmp_path: Path, *, seconds: float = 0.0, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The app after its start-up, and a client of it."""
    chosen = Settings(engine="deterministic", calibrators_dir=tmp_path, **settings)
    app = create_app(chosen, engine=lambda: DeterministicEngine(seconds=seconds))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = dict(state or {})
            await app(scope, receive, send)

        transport = httpx.ASGITransport(app=with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://ranker") as client:
            yield client


def run(tmp_path: Path, call: Callable[[httpx.AsyncClient], Any], **settings: Any) -> Any:
    async def scenario() -> Any:
        async with service(tmp_path, **settings) as client:
            return await call(client)

    return asyncio.run(scenario())


def post(tmp_path: Path, body: dict[str, Any], headers: dict[str, str] | None = None, **settings: Any) -> Any:
    return run(tmp_path, lambda client: client.post("/v1/rank", json=body, headers=headers), **settings)


def test_a_request_is_judged(tmp_path: Path, rank_body: Body) -> None:
    calibrator = Calibrator(id="cal", pooled=TemperatureMap(temperature=2.0), fitted_for=FittedFor(prompt="P2"))
    (tmp_path / "cal.json").write_text(calibrator.model_dump_json())
    response = post(tmp_path, rank_body(calibrator="cal"))
    assert response.status_code == 200
    result = RankResult.model_validate_json(response.content)
    assert [issue.id for issue in result.issues] == ["arson", "drug_abuse"]
    first, second = result.issues
    assert [answer.question for answer in first.answers] == ["fine_grained", "overall"]
    # P2 asks the overall question once: both issues hold the same answer.
    assert first.answers[1] == second.answers[1]
    assert first.answers[0] != second.answers[0]
    assert first.score == pytest.approx(sum(answer.p_yes for answer in first.answers) / 2)
    assert first.probability == pytest.approx(calibrator.apply(first.score, first.id))
    assert result.model.engine == "deterministic"
    assert set(result.timings.stages) == {"decode", "queue", "infer"}
    assert result.warnings == ()


def test_an_unknown_calibrator_is_a_warning(tmp_path: Path, rank_body: Body) -> None:
    result = RankResult.model_validate_json(post(tmp_path, rank_body(calibrator="nobody")).content)
    assert result.issues[0].calibrator is None
    assert result.issues[0].probability == result.issues[0].score
    assert "`nobody` is not known" in result.warnings[0]


def test_context_changes_the_prompt_and_metadata_does_not(tmp_path: Path, rank_body: Body) -> None:
    plain = post(tmp_path, rank_body()).json()["issues"]
    titled = post(tmp_path, {**rank_body(), "context": {"title": "hello"}}).json()["issues"]
    tagged = post(tmp_path, {**rank_body(), "context": {"uploader_id": "u", "metadata": {"a": "b"}}}).json()["issues"]
    assert titled != plain
    assert tagged == plain


@pytest.mark.parametrize(
    ("jpeg", "pointer"), [(b"not a jpeg", "body/frames/1/jpeg"), (b"\xff\xd8\xff\xe0", "body/frames/1/jpeg")]
)
def test_a_bad_frame_is_named(tmp_path: Path, rank_body: Body, jpeg: bytes, pointer: str) -> None:
    body = rank_body()
    body["frames"][1]["jpeg"] = base64.b64encode(jpeg).decode()
    response = post(tmp_path, body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "invalid_payload"
    assert response.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"frames": []}, 422, "invalid_payload"),
        ({"issues": []}, 422, "invalid_payload"),
        ({"frames": [{"time_s": 0, "jpeg": "***"}]}, 422, "invalid_payload"),
        ({"surprise": 1}, 422, "invalid_payload"),
    ],
)
def test_contract_errors(tmp_path: Path, rank_body: Body, change: dict[str, Any], status: int, code: str) -> None:
    response = post(tmp_path, {**rank_body(), **change})
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_too_many_frames_and_too_large_bodies(tmp_path: Path, rank_body: Body) -> None:
    response = post(tmp_path, rank_body(frames=3), max_frames=2)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_payload")
    response = post(tmp_path, rank_body(), max_body_bytes=500)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_a_body_without_length_is_cut_off_while_it_streams(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1
            yield b"x" * 1_000

    response = run(tmp_path, lambda client: client.post("/v1/rank", content=endless()), max_body_bytes=10_000)
    assert response.status_code == 413
    assert sent < 50


def test_not_json_is_malformed(tmp_path: Path) -> None:
    headers = {"content-type": "application/json"}
    response = run(tmp_path, lambda client: client.post("/v1/rank", content=b"{", headers=headers))
    assert (response.status_code, response.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize(("value", "status"), [("0", 504), ("1", 504), ("soon", 400), ("60000", 200)])
def test_deadlines(tmp_path: Path, rank_body: Body, value: str, status: int) -> None:
    response = post(tmp_path, rank_body(), {"Winnow-Deadline-Ms": value}, seconds=0.05)
    assert response.status_code == status


def test_overload_is_refused_before_the_body_is_read(tmp_path: Path, rank_body: Body) -> None:
    body = rank_body()

    async def untouched() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    async def scenario(client: httpx.AsyncClient) -> tuple[list[httpx.Response], httpx.Response, str]:
        busy = [asyncio.create_task(client.post("/v1/rank", json=body)) for _ in range(2)]
        await asyncio.sleep(0.1)
        refused = await client.post("/v1/rank", content=untouched())
        metrics = (await client.get("/metrics")).text
        return [await task for task in busy], refused, metrics

    served, refused, metrics = run(tmp_path, scenario, seconds=0.3, max_waiting=2, retry_after_s=2.0)
    assert [response.status_code for response in served] == [200, 200]
    assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (429, "overloaded", True)
    assert refused.headers["retry-after"] == "2"
    assert 'winnow_admission_rejected_total{reason="overloaded",service="ranker"} 1.0' in metrics
    assert 'winnow_admission_places_taken{service="ranker"} 2.0' in metrics
    assert "winnow_ranker_requests_waiting 1.0" in metrics


def test_places_are_free_again_after_every_kind_of_end(tmp_path: Path, rank_body: Body) -> None:
    async def scenario(client: httpx.AsyncClient) -> int:
        await client.post("/v1/rank", content=b"{")
        await client.post("/v1/rank", json={})
        await client.post("/v1/rank", json=rank_body(), headers={"Winnow-Deadline-Ms": "0"})
        status: int = (await client.post("/v1/rank", json=rank_body())).status_code
        return status

    assert run(tmp_path, scenario, max_waiting=1) == 200


def test_health_model_metrics_and_openapi(tmp_path: Path, rank_body: Body) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).json() == {"status": "ok", "missing": {}}
        assert (await client.get("/v1/model")).json()["engine"] == "deterministic"
        await client.post("/v1/rank", json=rank_body())
        metrics = (await client.get("/metrics")).text
        assert 'winnow_ranker_stage_duration_seconds_count{stage="infer"} 1.0' in metrics
        assert "winnow_ranker_answer_mass_count 3.0" in metrics
        assert 'route="/v1/rank"' in metrics
        responses = (await client.get("/openapi.json")).json()["paths"]["/v1/rank"]["post"]["responses"]
        assert {"200", "413", "422", "429", "504"} <= set(responses)

    run(tmp_path, scenario)


def test_a_token_is_asked_for_where_one_is_set(tmp_path: Path, rank_body: Body) -> None:
    async def scenario(client: httpx.AsyncClient) -> list[int]:
        right = {"Authorization": "Bearer secret"}
        calls = (client.get("/v1/model"), client.get("/v1/model", headers=right), client.get("/health/ready"))
        return [(await call).status_code for call in calls]

    assert run(tmp_path, scenario, service_token="secret") == [401, 200, 200]
