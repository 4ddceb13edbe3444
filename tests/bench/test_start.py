"""(d) How long `winnow up` takes to have each service ready: the first start, which loads the seeds, and the second."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.bench.helper import product_environment
from tests.bench.results import Figure, Report
from winnow.stack import Ports, url
from winnow.supervisor import free_ports

ROUNDS = 3
TIMEOUT_S = 180.0
POLL_S = 0.02
SERVICES = ("ranker", "router", "gateway")


def test_start(tmp_path: Path, report: Report) -> None:
    runs: dict[str, list[dict[str, float]]] = {"first": [], "second": []}
    for number in range(ROUNDS):
        for name in runs:
            runs[name].append(_start(tmp_path / str(number)))
    figures = {name: {key: Figure.of([run[key] for run in each]) for key in each[0]} for name, each in runs.items()}
    report.table(
        "`winnow up` to ready, s",
        ("start", *SERVICES, "all ready, seeds loaded"),
        [(name, *(each[service].show() for service in SERVICES), each["all"].show()) for name, each in figures.items()],
        note=f"Median [least, greatest] of {ROUNDS}, from the start of the command. First: an empty data directory and "
        "the bundled seeds; the router is ready when the bank has the first one. Second: the same directory again.",
    )
    report.write("start", figures)


def _start(data_dir: Path) -> dict[str, float]:
    ports = Ports(*free_ports(3))
    options = ["--port", ports.gateway, "--router-port", ports.router, "--ranker-port", ports.ranker]
    command = [sys.executable, "-m", "winnow", "up", "--data-dir", data_dir, *options]
    data_dir.mkdir(exist_ok=True)
    log_path = data_dir / "up.log"
    ready: dict[str, float] = {}
    with log_path.open("w", encoding="utf-8") as log, httpx.Client(timeout=2.0, trust_env=False) as client:
        started = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=product_environment())
        try:
            while "all" not in ready:
                if process.poll() is not None or time.perf_counter() - started > TIMEOUT_S:
                    raise RuntimeError(log_path.read_text(encoding="utf-8"))
                for service in SERVICES:
                    if service not in ready and _is_ready(client, url(getattr(ports, service))):
                        ready[service] = time.perf_counter() - started
                if len(ready) == len(SERVICES) and "Ready:" in log_path.read_text(encoding="utf-8"):
                    ready["all"] = time.perf_counter() - started
                time.sleep(POLL_S)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
    return ready


def _is_ready(client: httpx.Client, service: str) -> bool:
    try:
        return client.get(f"{service}/health/ready").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
