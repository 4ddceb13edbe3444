"""CPU time of a process and what it started."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.telemetry.cpu import TreeCpuCollector, tree_cpu_seconds

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def stat(proc: Path, pid: int, parent: int, own: int, reaped: int, name: str = "a") -> None:
    (proc / str(pid)).mkdir(parents=True)
    fields = [*["0"] * 9, str(own - 1), "1", str(reaped), "0", *["0"] * 30]
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} {' '.join(fields)}\n", encoding="utf-8")


def test_descendants_and_what_they_reaped_count(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    stat(tmp_path, 10, 1, own=tick, reaped=2 * tick)
    stat(tmp_path, 11, 10, own=3 * tick, reaped=0, name="a name) with 1 2 (traps")
    stat(tmp_path, 12, 11, own=4 * tick, reaped=5 * tick)
    stat(tmp_path, 13, 1, own=1000 * tick, reaped=0, name="another's")
    assert tree_cpu_seconds(10, tmp_path) == pytest.approx(15.0)
    assert tree_cpu_seconds(12, tmp_path) == pytest.approx(9.0)
    assert tree_cpu_seconds(99, tmp_path) is None
    assert tree_cpu_seconds(10, tmp_path / "none") is None


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_child_counts_while_it_runs_and_after_it() -> None:
    before = tree_cpu_seconds(os.getpid())
    assert before is not None
    child = subprocess.Popen([sys.executable, "-c", BURN + "input()"], stdin=subprocess.PIPE)
    until = time.monotonic() + 60
    while ((tree_cpu_seconds(child.pid) or 0.0) < 0.29) and time.monotonic() < until:
        time.sleep(0.05)
    running = tree_cpu_seconds(os.getpid())
    child.communicate(b"\n")
    after = tree_cpu_seconds(os.getpid())
    assert running is not None
    assert after is not None
    assert running - before >= 0.29
    assert after - before >= 0.29


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_the_series_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    readings = iter([5.0, 3.0, 6.0])
    monkeypatch.setattr("services.telemetry.cpu.tree_cpu_seconds", lambda _: next(readings))
    registry.register(TreeCpuCollector("router"))
    name, labels = "winnow_cpu_seconds_total", {"service": "router"}
    assert [registry.get_sample_value(name, labels) for _ in range(3)] == [5.0, 5.0, 6.0]
