"""CPU time and memory of a process and all its descendants."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Memory:
    """Bytes. `pss` shares out pages that several processes map, so that a sum over a tree counts them once."""

    rss: int
    pss: int
    processes: int


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and its descendants so far; those that ended and were waited for count."""
    total = 0.0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


def own_cpu_seconds(pid: int) -> float:
    """User and system time of the process so far, without its descendants."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def memory(pid: int) -> Memory:
    """Memory of the process and its descendants now."""
    rss = pss = processes = 0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            used = process.memory_full_info()
            rss, pss, processes = rss + used.rss, pss + used.pss, processes + 1
    return Memory(rss, pss, processes)


def _family(pid: int) -> Iterator[psutil.Process]:
    parent = psutil.Process(pid)
    yield parent
    yield from parent.children(recursive=True)
