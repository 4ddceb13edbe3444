"""The helper of test_seed_bank.py: one index of seed vectors in a process of its own, filled or opened and searched."""

import asyncio
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from router_svc.bank import NOTHING, Entry, Excluded, Found, Group, Vectors
from router_svc.bank.points import points_of
from tests.bench.helper import Command, serve

ENCODER, DIM, PER_SEED, ISSUES, FRAMES, LIMIT = "0123456789abcdef", 128, 4, 8, 8, 8
"""DIM is the bundled encoder's."""

GROUPS = [Group(f"issue_{number}", False) for number in range(ISSUES)]
_AT_A_TIME = 250
_SEARCHES, _SEARCH_S = 60, 20.0
_PUTS = 20


class ArraysAlone:
    """The matrices without anything on disk."""

    def __init__(self) -> None:
        from router_svc.bank.exact import Arrays

        self._arrays = Arrays(DIM)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def put(self, entries: Sequence[Entry]) -> None:
        self._arrays.put(entries)

    async def search(
        self, vectors: Vectors, groups: Sequence[Group], limit: int, *, exclude: Excluded = NOTHING
    ) -> Found:
        return await asyncio.to_thread(self._arrays.search, vectors, groups, limit, exclude)


def unit(count: int, rng: np.random.Generator) -> Vectors:
    vectors = rng.standard_normal((count, DIM), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def made(kind: str, path: Path) -> Any:
    if kind == "arrays":
        return ArraysAlone()
    if kind == "local":
        from qdrant_client import QdrantClient

        from router_svc.bank.qdrant import QdrantIndex

        return QdrantIndex("", ENCODER, DIM, threads=1, connect=lambda: QdrantClient(path=str(path)))
    from router_svc.bank.edge import EdgeIndex

    return EdgeIndex(path, ENCODER, DIM) if kind == "shipped" else EdgeIndex(path, ENCODER, DIM, memory_vectors=0)


async def upsert(index: Any, entries: Sequence[Entry]) -> None:
    """Puts seeds that a Qdrant collection does not have; local mode takes minutes to look for what they had before."""
    from qdrant_client import models

    points = [models.PointStruct(id=each.id, vector=each.vector, payload=each.payload) for each in points_of(entries)]
    await index._call(lambda: index._client.upsert(index._collection, points, wait=True))


async def fill(put: Callable[[Sequence[Entry]], Awaitable[None]], count: int, limit_s: float) -> float | None:
    """Seconds of putting `count` vectors, or None where they were too many for the time."""
    rng = np.random.default_rng(1)
    seeds = count // PER_SEED
    taken = 0.0
    for start in range(0, seeds, _AT_A_TIME):
        entries = [
            Entry(f"{number:032x}", GROUPS[number % ISSUES], unit(PER_SEED, rng))
            for number in range(start, min(seeds, start + _AT_A_TIME))
        ]
        before = time.perf_counter()
        await put(entries)
        taken += time.perf_counter() - before
        if taken > limit_s:
            return None
    return taken


async def measured(work: Callable[[], Awaitable[object]], count: int, limit_s: float) -> dict[str, Any]:
    """Seconds of each of so many runs (fewer where the time ends), CPU of one, and longest stops of the event loop."""
    seconds: list[float] = []
    stops: list[float] = []
    running = True

    async def tick() -> None:
        while running:
            before = time.perf_counter()
            await asyncio.sleep(0.0005)
            stops.append(time.perf_counter() - before)

    before = time.perf_counter()
    await work()
    first = time.perf_counter() - before
    ticking = asyncio.create_task(tick())
    cpu, began, worst = time.process_time(), time.perf_counter(), []
    while not seconds or (len(seconds) < count and time.perf_counter() - began + first < limit_s):
        stops.clear()
        before = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - before)
        await asyncio.sleep(0.001)
        worst.append(max(stops, default=0.0))
    cpu = (time.process_time() - cpu) / len(seconds)
    running = False
    await ticking
    return {"seconds": seconds, "cpu": cpu, "stops": worst}


async def use(index: Any, count: int) -> dict[str, Any]:
    """Opens an index that is full (arrays are filled), searches it, and puts single seeds."""
    process = psutil.Process()
    empty = process.memory_info().rss
    before = time.perf_counter()
    await index.open()
    opened = time.perf_counter() - before
    if isinstance(index, ArraysAlone):
        await fill(index.put, count, 600.0)
    rng = np.random.default_rng(2)
    search = await measured(lambda: index.search(unit(FRAMES, rng), GROUPS, LIMIT), _SEARCHES, _SEARCH_S)
    memory = process.memory_info().rss - empty
    numbers = iter(range(10**9, 10**9 + 10**6))
    put = await measured(
        lambda: index.put([Entry(f"{next(numbers):032x}", GROUPS[0], unit(PER_SEED, rng))]), _PUTS, _SEARCH_S
    )
    await index.close()
    return {"open": opened, "memory": memory, "search": search, "put": put}


async def answer(command: Command) -> Any:
    warnings.simplefilter("ignore", UserWarning)  # local mode says that indexes have no effect
    index = made(command["kind"], Path(command["path"]))
    if command["do"] == "use":
        return await use(index, command["count"])
    await index.open()
    put = partial(upsert, index) if command["kind"] == "local" else index.put
    seconds = await fill(put, command["count"], command["limit_s"])
    await index.close()
    return seconds


if __name__ == "__main__":
    serve(lambda command: asyncio.run(answer(command)))
