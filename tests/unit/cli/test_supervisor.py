"""The supervisor with small real processes: ready, early death, order of the stop, no orphans."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.cli.conftest import Services
from winnow.child import Child, readable
from winnow.running import running
from winnow.supervisor import Supervisor, SupervisorError, free_ports, port_is_free


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_gone(pids: list[int], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_what_a_service_does_before_it_listens_is_told(services: Services, tmp_path: Path) -> None:
    silent = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
    child = Child(replace(services.spec("ranker"), command=silent, starting="loading its model"), tmp_path)
    try:
        assert child.missing() == {"process": "loading its model"}
    finally:
        child.kill()


@linux
def test_starts_waits_and_stops_in_reverse_order(services: Services, tmp_path: Path) -> None:
    seen: list[dict[str, dict[str, str]]] = []
    specs = [services.spec("ranker"), services.spec("router"), services.spec("gateway")]
    with Supervisor(specs, log_dir=tmp_path / "logs", grace_s=5) as supervisor:
        supervisor.wait_ready(timeout_s=20, progress=seen.append, poll_s=0.02)
        supervisor.check()
        pids = services.pids("started")
        assert len(pids) == 3
        assert all(alive(pid) for pid in pids)
    assert wait_gone(pids)
    assert [note for note in services.notes() if "stopped" in note] == [
        "gateway stopped",
        "router stopped",
        "ranker stopped",
    ]
    assert seen[-1] == {"ranker": {}, "router": {}, "gateway": {}}


def test_early_death_shows_the_log_and_stops_the_others(services: Services, tmp_path: Path) -> None:
    specs = [services.spec("ranker"), services.spec("router", DIE="1")]
    with (
        pytest.raises(SupervisorError) as caught,
        Supervisor(specs, log_dir=tmp_path / "logs", grace_s=5) as supervisor,
    ):
        supervisor.wait_ready(timeout_s=20, poll_s=0.02)
    assert "router ended with exit code 3" in str(caught.value)
    assert "address already in use" in str(caught.value)
    assert not any(alive(pid) for pid in services.pids("started"))


def test_a_service_that_never_gets_ready_is_named_with_what_it_misses(services: Services, tmp_path: Path) -> None:
    specs = [services.spec("router", MISSING='{"bank": "still loading"}')]
    with (
        pytest.raises(SupervisorError, match=r"router: bank \(still loading\)"),
        Supervisor(specs, log_dir=tmp_path / "logs", grace_s=5) as supervisor,
    ):
        supervisor.wait_ready(timeout_s=1.5, poll_s=0.02)


@linux
def test_a_service_that_does_not_stop_is_killed_with_its_workers(services: Services, tmp_path: Path) -> None:
    spec = services.spec("router", SLOW_STOP="600", WORKER="1")
    supervisor = Supervisor([spec], log_dir=tmp_path / "logs", grace_s=0.3)
    with supervisor:
        supervisor.wait_ready(timeout_s=20, poll_s=0.02)
        pids = services.pids("started") + services.pids("worker")
        assert supervisor.stop() == ["router"]
    assert len(pids) == 2
    assert wait_gone(pids)


@linux
def test_workers_of_a_service_that_crashed_are_not_left_behind(services: Services, tmp_path: Path) -> None:
    with Supervisor([services.spec("router", WORKER="1")], log_dir=tmp_path / "logs", grace_s=2) as supervisor:
        supervisor.wait_ready(timeout_s=20, poll_s=0.02)
        os.kill(supervisor.children[0].pid, signal.SIGKILL)
        with pytest.raises(SupervisorError, match="signal 9"):
            supervisor.watch(poll_s=0.02)
        (worker,) = services.pids("worker")
        assert alive(worker)
    assert wait_gone([worker])


@linux
def test_services_go_when_their_parent_is_killed(services: Services, tmp_path: Path) -> None:
    spec = services.spec("gateway")
    script = (
        "import sys, time; from pathlib import Path\n"
        "from winnow.child import ServiceSpec; from winnow.supervisor import Supervisor\n"
        f"spec = ServiceSpec('gateway', {list(spec.command)!r}, {spec.url!r}, {{'SERVICE_NAME': 'gateway'}})\n"
        f"with Supervisor([spec], log_dir=Path({str(tmp_path / 'logs')!r})) as supervisor:\n"
        "    supervisor.wait_ready(timeout_s=20)\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        (pid,) = services.pids("started")
        parent.kill()
    assert wait_gone([pid])


@linux
def test_a_second_interrupt_kills_at_once(services: Services, tmp_path: Path) -> None:
    specs = [services.spec("ranker"), services.spec("gateway", SLOW_STOP="600")]
    supervisor = Supervisor(specs, log_dir=tmp_path / "logs", grace_s=600)
    with supervisor:
        supervisor.wait_ready(timeout_s=20, poll_s=0.02)
        pids = services.pids("started")
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            assert supervisor.stop() == ["ranker", "gateway"]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
    assert wait_gone(pids)


def test_a_log_line_is_shown_as_people_read_it() -> None:
    line = json.dumps({"ts": "t", "level": "ERROR", "msg": "no\nmodel", "exception": "Traceback\n  a"})
    assert readable(line) == "ERROR no\nmodel\nTraceback\n  a"
    assert readable('{"level": "INFO", "msg": "started"}') == "INFO started"
    for other in ("Killed", "[1]", '{"a": 1}', "{"):
        assert readable(other) == other


def test_logs_that_cannot_be_written_are_named(services: Services, tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with (
        pytest.raises(SupervisorError, match=r"logs cannot be used: Not a directory\..*--data-dir"),
        Supervisor([services.spec("router")], log_dir=tmp_path / "logs"),
    ):
        raise AssertionError


@pytest.mark.parametrize(("environment", "stops"), [({"DIE": "1"}, False), ({}, True)])
def test_only_services_that_were_ready_finish_their_work(
    services: Services, tmp_path: Path, environment: dict[str, str], stops: bool
) -> None:
    said = io.StringIO()
    with (
        suppress(SupervisorError),
        running([services.spec("router", **environment)], tmp_path, Console(file=said, width=150), timeout_s=20),
    ):
        pass
    assert ("in-flight work is finished" in said.getvalue()) is stops


def test_free_ports_are_distinct_and_free() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    assert all(port_is_free(port) for port in ports)
