"""The embedded index: Qdrant Edge keeps the vectors on disk, and arrays in memory find them."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from router_svc.bank.exact import Arrays
from router_svc.bank.points import Stored, entries_of, last_of_each, pages, portions
from router_svc.bank.protocol import NOTHING, Entry, Excluded, Found, Group, Vectors
from router_svc.bank.shard import InUse, Shard, ShardBroken
from services.deadline import Deadline
from services.errors import DeadlineExceeded, NotReady

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Qdrant Edge holds the interpreter while it writes: 250 vectors take about 10 ms.
_PORTION = 250
# So many seeds are removed at a time, for the same reason.
_REMOVED = 500


class EdgeIndex:
    """See VectorIndex: one directory for each encoder, open in one process.

    Search is exact. Qdrant Edge holds the interpreter while it searches, and so stops the event loop, and costs two to
    three times the CPU of a matrix product: hence the arrays. With more than `memory_vectors` vectors Qdrant Edge
    searches, group after group, so that nothing waits for more than one group.

    What `put` and `remove` did outlives the process when they return. To outlive the machine it has to be flushed,
    which stops the event loop for 25 to 150 ms; that is done every `flush_vectors` vectors and when the index is
    closed. After a power cut the comparison with the records brings back what is missing.

    An index that is damaged is removed and made anew, empty; the records hold all that belongs in it.

    Args:
        path: directory of the encoders' directories.
        encoder: fingerprint of the encoder.
        dim: length of its vectors.
        memory_vectors: most vectors that are held in memory, 4 * `dim` bytes each.
        flush_vectors: vectors that are written, or seeds that are removed, between two flushes; 1 flushes every time.
    """

    shared = False

    def __init__(
        self, path: Path, encoder: str, dim: int, *, memory_vectors: int = 200_000, flush_vectors: int = 1_000
    ) -> None:
        self._path = path / encoder
        self._dim = dim
        self._memory_vectors = memory_vectors
        self._flush_vectors = flush_vectors
        # All that follows is used in this thread alone, which needs no lock and ends what a caller left behind.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="index")
        self._shard: Shard | None = None
        self._arrays: Arrays | None = None
        self._unflushed = 0
        self._closed = False

    async def open(self) -> None:
        """See VectorIndex."""
        await self._call(self._open)

    async def close(self) -> None:
        """See VectorIndex."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    async def put(self, entries: Sequence[Entry]) -> None:
        """See VectorIndex. Searches run between its portions."""
        for portion in portions(last_of_each(entries), _PORTION):
            await self._call(lambda portion=portion: self._put(portion))  # type: ignore[misc]

    async def remove(self, seed_ids: Collection[str]) -> None:
        """See VectorIndex."""
        for page in pages(seed_ids, _REMOVED):
            await self._call(lambda page=page: self._remove(page))  # type: ignore[misc]

    async def search(
        self,
        vectors: Vectors,
        groups: Sequence[Group],
        limit: int,
        *,
        exclude: Excluded = NOTHING,
        deadline: Deadline | None = None,
    ) -> Found:
        """See VectorIndex. DeadlineExceeded: the deadline passed while other work was done, or between two groups."""
        return await self._call(lambda: self._search(vectors, groups, limit, exclude, deadline))

    async def seed_ids(self) -> frozenset[str]:
        """See VectorIndex. Searches run between the pages that are read."""
        in_memory = await self._call(self._in_memory)
        if in_memory is not None:
            return in_memory
        read = await self._call(lambda: self._opened().pages(vectors=False))
        found: set[str] = set()
        while page := await self._call(lambda: next(read, None)):
            found.update(point.seed_id for point in page)
        return frozenset(found)

    async def ping(self) -> None:
        """See VectorIndex."""
        await self._call(self._opened)

    async def make_live(self) -> None:
        """A directory has no other name; people see the encoder's fingerprint in it."""
        await self.ping()

    async def _call(self, function: Callable[[], T]) -> T:
        if self._closed:
            raise NotReady("The index is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except (NotReady, DeadlineExceeded):
            raise
        except InUse as error:
            raise NotReady(f"The index is open in another process: {error}.") from error
        except (ShardBroken, OSError) as error:
            logger.exception("a call to the index failed")
            raise NotReady("The index does not answer.") from error

    def _open(self) -> None:
        if self._shard is not None:
            return
        shard = Shard(self._path, self._dim)
        try:
            self._arrays = self._read(shard)
        except ShardBroken as error:
            reason = {"path": str(self._path), "reason": str(error)}
            logger.warning("the index on disk cannot be read, and is made anew", extra=reason)
            shard.discard()
            shard = Shard(self._path, self._dim)
            self._arrays = self._read(shard)
        self._shard = shard

    def _read(self, shard: Shard) -> Arrays | None:
        """Everything is read, also what memory has no room for: what is damaged is found now and not by a search."""
        shard.optimize()
        points: list[Stored] | None = []
        for page in shard.pages(vectors=True):
            if points is not None:
                points.extend(page)
                if len(points) > self._memory_vectors:
                    points = None
        if points is None:
            return None
        arrays = Arrays(self._dim)
        arrays.put(entries_of(points))
        return arrays

    def _close(self) -> None:
        shard, self._shard, self._arrays = self._shard, None, None
        if shard is not None:
            try:
                shard.close()
            except ShardBroken:
                logger.exception("the index did not close well")

    def _opened(self) -> Shard:
        if self._shard is None:
            raise NotReady("The index is not open.")
        return self._shard

    def _put(self, entries: Sequence[Entry]) -> None:
        shard = self._opened()
        shard.put(entries)
        if self._arrays is not None:
            self._arrays.put(entries)
            if len(self._arrays) > self._memory_vectors:
                logger.info("the index has outgrown memory, and is searched on disk", extra={"path": str(self._path)})
                self._arrays = None
        self._written(shard, sum(len(entry.vectors) for entry in entries))

    def _remove(self, seed_ids: Collection[str]) -> None:
        shard = self._opened()
        shard.remove(seed_ids)
        if self._arrays is not None:
            self._arrays.remove(seed_ids)
        self._written(shard, len(seed_ids))

    def _written(self, shard: Shard, count: int) -> None:
        self._unflushed += count
        if self._unflushed >= self._flush_vectors:
            shard.flush()
            self._unflushed = 0

    def _search(
        self, vectors: Vectors, groups: Sequence[Group], limit: int, exclude: Excluded, deadline: Deadline | None
    ) -> Found:
        shard = self._opened()
        if deadline is not None:
            deadline.check()
        if self._arrays is not None:
            return self._arrays.search(vectors, groups, limit, exclude)
        found = {}
        for group in groups:
            if deadline is not None:
                deadline.check()
            found[group] = shard.best(vectors, group, limit, exclude.get(group, ()))
        return found

    def _in_memory(self) -> frozenset[str] | None:
        self._opened()
        return None if self._arrays is None else self._arrays.seed_ids
