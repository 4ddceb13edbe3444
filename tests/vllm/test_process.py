"""`python -m ranker_svc` with vLLM as a process: metrics, overload, callers that leave, a dead engine, the ways to end.

The tests of the first process stand in the order in which it lives; the last of them kills its engine.
"""

import base64
import io
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from services.contracts import RankResult
from tests.ranker_process import RankerProcess, wait_for
from tests.vllm.conftest import CORES

PLACES = 3
EXIT_DELAY_S = 3.0
MANY = 255
"""Issues of a request that takes a second or more: as many prompts and one, a few at a time."""
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def body(issues: int = 2, frames: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(issues)
    files = []
    for _ in range(frames):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)).save(buffer, "JPEG")
        files.append(base64.b64encode(buffer.getvalue()).decode())
    return {
        "frames": [{"time_s": float(index), "jpeg": jpeg} for index, jpeg in enumerate(files)],
        "issues": [{"id": f"i{n}", "name": f"issue {n}", "definition": f"What {n} is."} for n in range(issues)],
    }


def process(directory: Path, **settings: Any) -> RankerProcess:
    """A ranker whose engine has few places in a step."""
    given = {"engine": "vllm", "max_waiting": PLACES, "max_num_seqs": 4, "exit_delay_s": EXIT_DELAY_S, **settings}
    return RankerProcess(directory / "log", **given)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RankerProcess]:
    with process(tmp_path_factory.mktemp("r")) as ranker:
        ranker.wait_ready()
        # vLLM's first step takes seconds.
        assert ranker.rank(body()).status_code == 200
        yield ranker


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * PLACES) as pool:
        yield pool


def core(ranker: RankerProcess) -> psutil.Process:
    (found,) = [each for each in ranker.others() if "EngineCore" in each.name()]
    return found


def probabilities(response: httpx.Response) -> list[float]:
    return [issue.probability for issue in RankResult.model_validate_json(response.content).issues]


def taken(ranker: RankerProcess) -> float:
    return ranker.value("winnow_admission_places_taken")


def in_flight(
    ranker: RankerProcess, pool: ThreadPoolExecutor, asked: dict[str, Any], number: int = 1
) -> "Future[httpx.Response]":
    """The request of which so many are now worked on."""
    flying = pool.submit(ranker.rank, asked)
    wait_for(lambda: taken(ranker) == number)
    return flying


def queued(ranker: RankerProcess) -> float:
    return ranker.value("vllm:num_requests_running") + ranker.value("vllm:num_requests_waiting")


def test_one_page_holds_our_metrics_and_those_of_vllm(served: RankerProcess) -> None:
    for accept, parse in (("text/plain", plain), (OPENMETRICS, openmetrics)):
        names = [family.name for family in parse(served.metrics(accept))]
        assert len(names) == len(set(names))
        assert {"vllm:num_requests_waiting", "vllm:num_requests_running", "vllm:kv_cache_usage_perc"} <= set(names)
        assert {"winnow_ranker_requests_waiting", "winnow_ranker_engine_up", "winnow_ranker_answer_mass"} <= set(names)
        assert not [name for name in names if not re.match("(vllm:|winnow_|process_|python_)", name)]
    assert served.value("winnow_ranker_engine_up") == 1.0
    names = ("winnow_ranker_answer_mass_count", "vllm:request_success_total")
    before = [served.value(name) for name in names]
    served.rank(body(2))
    assert [served.value(name) - earlier for name, earlier in zip(names, before, strict=True)] == [3.0, 3.0]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_reads_the_page_and_complains_of_vllms_names_alone(served: RankerProcess) -> None:
    command = ["promtool", "check", "metrics"]
    checked = subprocess.run(command, check=False, input=served.metrics(), capture_output=True, text=True, timeout=60)
    assert checked.returncode in (0, 3)  # 3: a matter of style
    assert [line for line in (checked.stdout + checked.stderr).splitlines() if not line.startswith("vllm:")] == []


@pytest.mark.skipif(len(CORES) < 2, reason="the model has the only core")
def test_the_model_computes_in_the_engine_process_and_the_service_keeps_off_its_cores(served: RankerProcess) -> None:
    assert [each.name() for each in served.others() if each.name().startswith("VLLM::")] == ["VLLM::EngineCore"]
    model = os.sched_getaffinity(core(served).pid)
    threads = [os.sched_getaffinity(thread.id) for thread in psutil.Process(served.process.pid).threads()]
    assert model < CORES
    assert set(map(frozenset, threads)) == {frozenset(CORES - model)}


def test_waiting_work_is_seen_in_both_metrics(served: RankerProcess, pool: ThreadPoolExecutor) -> None:
    answers = [pool.submit(served.rank, body(MANY)) for _ in range(PLACES)]
    names = {"vllm:num_requests_waiting", "winnow_ranker_requests_waiting"}
    seen = set[str]()

    def both_seen() -> bool:
        seen.update(name for name in names if served.value(name) > 0)
        return seen == names

    wait_for(both_seen)
    assert [answer.result().status_code for answer in answers] == [200] * PLACES
    wait_for(lambda: all(served.value(name) == 0 for name in names))


def test_overload_is_refused_and_the_admitted_are_answered_right(
    served: RankerProcess, pool: ThreadPoolExecutor
) -> None:
    bodies = [body(issues) for issues in range(1, PLACES + 1)]
    alone = [probabilities(served.rank(asked)) for asked in bodies]
    core(served).suspend()
    try:
        admitted = [in_flight(served, pool, asked, number) for number, asked in enumerate(bodies, 1)]
        refused = [served.rank(body()) for _ in range(3)]
    finally:
        core(served).resume()
    for response in refused:
        assert (response.status_code, response.json()["code"]) == (429, "overloaded")
        assert int(response.headers["retry-after"]) >= 1
    for expected, answer in zip(alone, admitted, strict=True):
        # The batch shifts log-probabilities slightly.
        assert probabilities(answer.result()) == pytest.approx(expected, abs=0.01)


def test_what_nobody_waits_for_any_more_leaves_the_engine(served: RankerProcess) -> None:
    for leave in (deadline_passes, caller_disconnects):
        before = served.value("vllm:request_success_total", finished_reason="length")
        core(served).suspend()
        try:
            leave(served)
            wait_for(lambda: taken(served) == 0)
        finally:
            core(served).resume()
        assert served.rank(body()).status_code == 200
        wait_for(lambda: queued(served) == 0)
        answered = served.value("vllm:request_success_total", finished_reason="length") - before
        # The last request has three prompts; a step that had begun may have ended with a few more.
        assert 3 <= answered < MANY / 2


def deadline_passes(ranker: RankerProcess) -> None:
    response = ranker.rank(body(MANY), deadline_ms=1_500)
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


def caller_disconnects(ranker: RankerProcess) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{ranker.url}/v1/rank", json=body(MANY), timeout=httpx.Timeout(10.0, read=1.5), trust_env=False)


def test_a_killed_engine_is_told_at_once_and_ends_the_process(served: RankerProcess, pool: ThreadPoolExecutor) -> None:
    dying = core(served)
    dying.suspend()
    flying = in_flight(served, pool, body())
    dying.kill()
    broken = flying.result(5.0)
    wait_for(lambda: served.client.get("/health/ready").status_code == 503, 2.0)
    ready, refused = served.client.get("/health/ready"), served.rank(body())
    wait_for(lambda: served.value("winnow_ranker_engine_up") == 0.0, EXIT_DELAY_S)
    assert served.end(EXIT_DELAY_S + 10.0) == 1
    for response in (broken, refused):
        assert (response.status_code, response.json()["code"], response.json()["retryable"]) == (503, "not_ready", True)
    assert ready.json()["missing"] == {"engine": "vLLM's engine process has died"}
    assert served.log().count("the service cannot go on: engine: vLLM's engine process has died") == 1
    wait_for(lambda: served.others() == [], 10.0)


def test_sigterm_lets_work_in_flight_end_within_the_grace_and_refuses_the_rest(
    tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor
) -> None:
    with process(tmp_path_factory.mktemp("t"), shutdown_grace_s=6.0) as ranker:
        ranker.wait_ready()
        engine = core(ranker)
        engine.suspend()
        first = in_flight(ranker, pool, body(1), 1)
        wait_for(lambda: ranker.value("vllm:num_requests_waiting") >= 0)
        second = in_flight(ranker, pool, body(MANY), 2)
        ranker.send(signal.SIGTERM)
        engine.resume()
        finished = first.result()
        engine.suspend()  # and for good: what is left cannot end, and the engine cannot either
        unfinished = second.result()
        assert ranker.end() in (0, -signal.SIGTERM)
        wait_for(lambda: ranker.others() == [], 10.0)
        assert '"ERROR"' not in ranker.log()
    assert finished.status_code == 200
    assert (unfinished.status_code, unfinished.json()["code"]) == (503, "not_ready")


def test_cores_that_cannot_be_bound_are_a_start_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    environment = {"VLLM_CPU_OMP_THREADS_BIND": "all"}
    with RankerProcess(tmp_path_factory.mktemp("b") / "log", environment=environment, engine="vllm") as ranker:
        assert ranker.end(120.0) == 1
        assert "vLLM's engine process could not start" in ranker.log()
        assert "Traceback" not in ranker.log()
        assert ranker.others() == []


@pytest.mark.parametrize("stage", ["import", "engine"])
def test_sigterm_while_the_model_loads_ends_all_of_it(tmp_path_factory: pytest.TempPathFactory, stage: str) -> None:
    with process(tmp_path_factory.mktemp("l")) as ranker:
        if stage == "import":
            wait_for(lambda: "Started server process" in ranker.log())
        else:
            wait_for(lambda: any("EngineCore" in "".join(each.cmdline()) for each in ranker.others()))
        ranker.send(signal.SIGTERM)
        assert ranker.end(15.0) == 0
        wait_for(lambda: ranker.others() == [], 10.0)
        assert "engine started" not in ranker.log()
