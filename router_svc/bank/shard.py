"""One directory of Qdrant Edge, for one thread of one process. The only module that imports qdrant_edge."""

import fcntl
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import qdrant_edge as edge

from router_svc.bank.points import GROUP, SEED, Stored, points_of
from router_svc.bank.protocol import Entry, Group, Hit, Vectors

logger = logging.getLogger(__name__)

_PAGE = 1_000
_NEVER_KB = 10**12


class InUse(Exception):
    """Another process has the directory open."""


class ShardBroken(Exception):
    """Qdrant Edge failed, e.g. because a file is damaged."""


class Shard:
    """The vectors of one encoder on disk. Every method blocks, and holds the interpreter while Qdrant Edge works.

    What a call has written is in Qdrant Edge's log when it returns, and outlives the process. `flush` also makes it
    outlive the machine.

    Args:
        path: the directory; a lock file lies beside it.
        dim: length of the vectors.

    Raises:
        InUse: see there.
        OSError: the directory cannot be made or written.
        ShardBroken: not even a new one can be made.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path.with_name(f"{path.name}.lock"))
        try:
            self._shard = self._open(dim)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Writes what is not written, and lets other processes open the directory."""
        try:
            with _failures():
                self._shard.flush()
                self._shard.close()
        finally:
            os.close(self._lock)

    def discard(self) -> None:
        """Closes it and removes the directory, which cannot be used. Raises OSError."""
        try:
            with _failures():
                self._shard.close()
        except ShardBroken:
            logger.debug("a damaged index did not close", exc_info=True)
        try:
            shutil.rmtree(self._path)
        finally:
            os.close(self._lock)

    def flush(self) -> None:
        """Has the disk write what was put and removed."""
        with _failures():
            self._shard.flush()

    def optimize(self) -> None:
        """Gives back the room of what was removed; seconds where there is much to do."""
        with _failures():
            self._shard.optimize()

    def pages(self, *, vectors: bool) -> Iterator[list[Stored]]:
        """All points, some at a time, with their vectors or without."""
        offset: edge.PointId | None = None
        while True:
            with _failures():
                request = edge.ScrollRequest(offset=offset, limit=_PAGE, with_payload=True, with_vector=vectors)
                records, offset = self._shard.scroll(request)
                page = [_stored(record) for record in records]
            yield page
            if offset is None:
                return

    def put(self, entries: Sequence[Entry]) -> None:
        """Writes seeds; rows that a seed had before and has no longer go."""
        points = points_of(entries)
        stale = edge.Filter(
            must=[_is_one_of([entry.seed_id for entry in entries])],
            must_not=[edge.HasIdCondition({point.id for point in points})],
        )
        with _failures():
            self._shard.update(edge.UpdateOperation.upsert_points([edge.Point(*point) for point in points]))
            self._shard.update(edge.UpdateOperation.delete_points_by_filter(stale))

    def remove(self, seed_ids: Collection[str]) -> None:
        """Takes seeds out."""
        gone = edge.Filter(must=[_is_one_of(seed_ids)])
        with _failures():
            self._shard.update(edge.UpdateOperation.delete_points_by_filter(gone))

    def best(self, queries: Vectors, group: Group, limit: int, exclude: Collection[str] = ()) -> list[list[Hit]]:
        """For each row of `queries`, [m, dim], the most similar vectors of a group, most similar first."""
        must_not: list[edge.ConditionType] = [_is_one_of(exclude)] if exclude else []
        with _failures():
            chosen = edge.Filter(
                must=[edge.FieldCondition(key=GROUP, match=edge.MatchValue(group.key))], must_not=must_not
            )
            exact = edge.SearchParams(exact=True)
            requests = [
                edge.QueryRequest(
                    limit=limit, query=edge.Query.Nearest(query), filter=chosen, with_payload=[SEED], params=exact
                )
                for query in queries.tolist()
            ]
            answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
            return [
                [Hit((point.payload or {})[SEED], min(1.0, max(-1.0, point.score))) for point in answer]
                for answer in answers
            ]

    def _open(self, dim: int) -> edge.EdgeShard:
        if self._path.exists():
            try:
                with _failures():
                    return _indexed(edge.EdgeShard.load(str(self._path), _config(dim)))
            except ShardBroken as error:
                reason = {"path": str(self._path), "reason": str(error)}
                logger.warning("the index on disk is damaged, and is made anew", extra=reason)
                shutil.rmtree(self._path)
        self._path.mkdir()
        with _failures():
            return _indexed(edge.EdgeShard.create(str(self._path), _config(dim)))


def _config(dim: int) -> edge.EdgeConfig:
    # No graph (m and payload_m are 0). At 100,000 vectors a graph for each group took 90 s to build, during which the
    # interpreter stood still, and a search cost what an exact one costs: 8 queries among the 6,000 vectors of a group.
    graph = edge.HnswIndexConfig(m=0, payload_m=0, ef_construct=4, full_scan_threshold=10_000)
    vectors = edge.EdgeVectorParams(size=dim, distance=edge.Distance.Cosine)
    # Nor does a large segment become a read-only one, 2 s of standing still at 100,000 vectors.
    optimizers = edge.EdgeOptimizersConfig(indexing_threshold=_NEVER_KB)
    return edge.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=optimizers, max_search_threads=1)


def _indexed(shard: edge.EdgeShard) -> edge.EdgeShard:
    for field in {SEED, GROUP} - shard.info().payload_schema.keys():
        index = edge.KeywordIndexParams(is_tenant=field == GROUP)
        shard.update(edge.UpdateOperation.create_field_index(field, index))
    return shard


def _stored(record: edge.Record) -> Stored:
    payload = record.payload or {}
    return Stored(payload[SEED], payload[GROUP], np.array(record.vector or (), np.float32))


def _is_one_of(seed_ids: Collection[str]) -> edge.FieldCondition:
    return edge.FieldCondition(key=SEED, match=edge.MatchAny(sorted(seed_ids)))


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InUse(f"another process has {path.parent} open") from error
    return handle


@contextmanager
def _failures() -> Iterator[None]:
    """Whatever Qdrant Edge raises becomes ShardBroken: its own errors are of no type, and a panic is no Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise ShardBroken(f"{type(error).__name__}: {error}") from error
