"""CPU time of a service and of every process that it started, e.g. decoders, read from /proc."""

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

NAME = "winnow_cpu_seconds"
"""The metric's name without `_total`."""

_PROC = Path("/proc")
_PPID, _OWN, _REAPED = 1, slice(11, 13), slice(13, 15)
"""Fields of /proc/PID/stat behind the name: the parent; user and system time of its own, and of reaped children."""


def tree_cpu_seconds(root: int, proc: Path = _PROC) -> float | None:
    """CPU seconds of a process, its living descendants, and all that any of them has reaped; None without /proc."""
    parent: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in proc.glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold spaces.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        pid = int(stat.parent.name)
        parent[pid] = int(fields[_PPID])
        ticks[pid] = sum(int(each) for each in (*fields[_OWN], *fields[_REAPED]))
    if root not in ticks:
        return None
    children: dict[int, list[int]] = {}
    for pid, of in parent.items():
        children.setdefault(of, []).append(pid)
    left, total = [root], 0
    while left:
        pid = left.pop()
        total += ticks[pid]
        left += children.get(pid, [])
    return total / float(os.sysconf("SC_CLK_TCK"))


class TreeCpuCollector(Collector):
    """The CPU time of this process's tree; no series where there is no /proc.

    Args:
        service: value of the `service` label.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._highest = 0.0

    def collect(self) -> Iterator[Metric]:
        """One series, which never falls: a process that ends while it is read may be missed for once."""
        family = CounterMetricFamily(
            NAME,
            "CPU time of the service and of every process that it started, e.g. decoders; absent without /proc.",
            labels=["service"],
        )
        now = tree_cpu_seconds(os.getpid())
        if now is not None:
            self._highest = max(self._highest, now)
            family.add_metric([self._service], self._highest)
        yield family
