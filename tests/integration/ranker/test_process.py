"""`python -m ranker_svc` as a process: how it starts, answers, logs, loses its engine and ends."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.clients import RankerClient
from services.contracts import RankRequest, RankResult
from services.deadline import Deadline
from tests.ranker_process import START_S, RankerProcess, wait_for
from tests.servers import free_port
from winnow.child import ServiceSpec
from winnow.supervisor import Supervisor, SupervisorError

Body = Callable[..., dict[str, Any]]

MORTAL = ("-m", "tests.integration.ranker.mortal")


WELL_BEFORE_ITS_ANSWER_S = 10.0


def in_flight(ranker: RankerProcess, pool: ThreadPoolExecutor, body: dict[str, Any]) -> "Future[httpx.Response]":
    """A request that the engine is working on."""
    flying = pool.submit(ranker.rank, body)
    wait_for(lambda: ranker.value("winnow_admission_places_taken") == 1.0)
    return flying


def mortal(tmp_path: Path, *, seconds: float, **settings: Any) -> RankerProcess:
    return RankerProcess(tmp_path / "log", program=MORTAL, environment={"SECONDS": str(seconds)}, **settings)


def test_it_starts_answers_and_stops(tiny_llava: Path, tmp_path: Path, rank_body: Body) -> None:
    with RankerProcess(tmp_path / "log", model=tiny_llava) as ranker:
        response = ranker.wait_ready().rank(rank_body())
        result = RankResult.model_validate_json(response.content)
        assert result.model.engine == "reference"
        assert set(result.timings.stages) == {"decode", "queue", "preprocess", "infer"}
        # A random model says anything; that little of it is Yes or No must be told.
        assert any("on Yes and No" in warning for warning in result.warnings)
        assert ranker.value("winnow_ranker_engine_up") == 1.0
        ranker.send(signal.SIGTERM)
        assert ranker.end() in (0, -signal.SIGTERM)
        lines = ranker.lines()
    (started,) = [line for line in lines if line["msg"] == "engine started"]
    assert started["fingerprint"] == result.model.fingerprint
    (served,) = [line for line in lines if line["msg"] == "request" and line["route"] == "/v1/rank"]
    assert served["status"] == 200


def test_it_refuses_to_start_without_a_model_and_says_why(tmp_path: Path) -> None:
    with RankerProcess(tmp_path / "log", model=tmp_path / "absent") as ranker:
        assert ranker.end(START_S) == 1
        assert "neither a directory nor a hub id" in (tmp_path / "log").read_text()


# Half a second later torch is being imported, which takes seconds.
@pytest.mark.parametrize(("how", "delay_s"), [(signal.SIGTERM, 0.0), (signal.SIGTERM, 0.5), (signal.SIGINT, 0.5)])
def test_a_signal_ends_it_while_the_model_loads(
    tiny_llava: Path, tmp_path: Path, how: signal.Signals, delay_s: float
) -> None:
    with RankerProcess(tmp_path / "log", model=tiny_llava) as ranker:
        wait_for(lambda: "Started server process" in ranker.log())
        time.sleep(delay_s)
        ranker.send(how)
        assert ranker.end() == 0
        lines = ranker.lines()
    assert "engine started" not in [line["msg"] for line in lines]
    assert {line["level"] for line in lines} == {"INFO"}


def test_a_dead_engine_is_told_at_once_and_ends_the_process(tmp_path: Path, rank_body: Body) -> None:
    with mortal(tmp_path, seconds=30.0, exit_delay_s=3.0) as ranker, ThreadPoolExecutor(1) as pool:
        ranker.wait_ready()
        flying = in_flight(ranker, pool, rank_body())
        ranker.send(signal.SIGUSR1)
        broken = flying.result(WELL_BEFORE_ITS_ANSWER_S)
        refused, ready = ranker.rank(rank_body()), ranker.client.get("/health/ready")
        up = ranker.value("winnow_ranker_engine_up")
        live = ranker.client.get("/health/live").status_code
        assert ranker.end() == 1
        lines = ranker.lines()
    for response in (broken, refused):
        assert (response.status_code, response.json()["code"], response.json()["retryable"]) == (503, "not_ready", True)
    assert "the test killed it" in refused.json()["detail"]
    assert (ready.status_code, ready.json()["missing"]) == (503, {"engine": "the test killed it"})
    assert (up, live) == (0.0, 200)
    (error,) = [line for line in lines if line["level"] == "ERROR"]
    assert error["msg"] == "the service cannot go on: engine: the test killed it"


async def test_a_request_that_a_dying_replica_drops_is_answered_by_another(tmp_path: Path, rank_body: Body) -> None:
    request = RankRequest.model_validate_json(json.dumps(rank_body()))
    (tmp_path / "other").mkdir()
    with mortal(tmp_path, seconds=30.0) as dying, mortal(tmp_path / "other", seconds=0.0) as other:
        for each in (dying, other):
            each.wait_ready()
        async with RankerClient([dying.url, other.url]) as client:
            # Of two that are idle the first one is asked.
            call = asyncio.create_task(client.rank(request, Deadline.after(WELL_BEFORE_ITS_ANSWER_S)))
            while dying.value("winnow_admission_places_taken") == 0.0:
                await asyncio.sleep(0.02)
            dying.send(signal.SIGUSR1)
            result = await call
            circuits = client.circuits()
        assert other.value("winnow_ranker_prompts_count") == 1.0
    assert [issue.id for issue in result.issues] == ["arson", "drug_abuse"]
    assert circuits[dying.url.removeprefix("http://")] == "open"


def test_winnow_up_hears_of_a_dead_engine(tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "WINNOW_RANKER_PORT": str(port), "WINNOW_RANKER_EXIT_DELAY_S": "0.1"}
    spec = ServiceSpec("ranker", [sys.executable, *MORTAL], f"http://127.0.0.1:{port}", environment)
    with Supervisor([spec], log_dir=tmp_path, grace_s=5) as supervisor:
        supervisor.wait_ready(timeout_s=START_S)
        os.kill(supervisor.children[0].pid, signal.SIGUSR1)
        with pytest.raises(SupervisorError) as caught:
            supervisor.watch(poll_s=0.02)
    assert "ranker ended with exit code 1" in str(caught.value)
    assert "the service cannot go on: engine: the test killed it" in str(caught.value)


@pytest.mark.parametrize(("grace_s", "status"), [(20.0, 200), (0.2, 503)])
def test_work_in_flight_is_finished_or_refused(tmp_path: Path, rank_body: Body, grace_s: float, status: int) -> None:
    with mortal(tmp_path, seconds=1.5, shutdown_grace_s=grace_s) as ranker, ThreadPoolExecutor(1) as pool:
        ranker.wait_ready()
        flying = in_flight(ranker, pool, rank_body())
        ranker.send(signal.SIGTERM)
        answer = flying.result(20.0)
        assert ranker.end() in (0, -signal.SIGTERM)
        lines = ranker.lines()
    assert answer.status_code == status
    assert {line["level"] for line in lines} <= {"INFO", "WARNING"}
