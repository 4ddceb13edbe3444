"""What the tests of the decoders share: a pool, its jobs, and what the kernel knows of its processes."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from router_svc.decode_pool import DecodePool
from router_svc.decode_wire import DecodeJob
from router_svc.metrics import RouterMetrics
from router_svc.sandbox import WorkerLimits
from services.media import MediaLimits, SamplingPlan
from tests.integration.router.hostile import by_content

Clips = dict[str, Path]


def write(directory: Path, command: bytes) -> Path:
    path = directory / command.decode().strip("-").lower()
    path.write_bytes(command + b"0" * 100)
    return path


def job(path: Path, cpu_s: float = 10.0) -> DecodeJob:
    return DecodeJob(path=path, plan=SamplingPlan(), short_side=64, limits=MediaLimits(), cpu_s=cpu_s)


def pool(**changes: Any) -> DecodePool:
    values: dict[str, Any] = {
        "workers": 1,
        "waiting": 4,
        "timeout_s": 10.0,
        "limits": WorkerLimits(memory_bytes=2 * 1024**3),
        "metrics": RouterMetrics(CollectorRegistry()),
        "task": by_content,
        **changes,
    }
    return DecodePool(**values)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children_of(pid: int) -> dict[int, str]:
    """The processes that a process started, with their states (`S`, `Z` for a zombie)."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found[int(stat.parent.name)] = fields[0]
    return found


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie, which waits for its new parent to look, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def full(decoders: DecodePool, workers: int) -> None:
    """Waits until the pool has its full number of idle workers again."""
    async with asyncio.timeout(20):
        while decoders.idle < workers:
            await asyncio.sleep(0.01)
