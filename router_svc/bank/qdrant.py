"""The index on a Qdrant server or cluster, for all replicas. The only module that imports qdrant_client."""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import SecretStr
from qdrant_client import QdrantClient, models

from router_svc.bank.points import GROUP, SEED, last_of_each, pages, points_of, portions
from router_svc.bank.protocol import NOTHING, Entry, Excluded, Found, Group, Hit, Vectors
from services.deadline import Deadline
from services.errors import DeadlineExceeded, NotReady

logger = logging.getLogger(__name__)

T = TypeVar("T")

ALIAS = "winnow_seeds"
"""Alias of the live encoder's collection."""

_PAGE = 10_000
# Of vectors in one request: 5 MB of JSON, of the 32 MB that a server takes.
_PORTION_NUMBERS = 250_000
# Queries in one call: what a thread still does when its caller has left.
_QUERIES = 128
# Ids that the queries of one call pass over: 9 MB of JSON.
_IDS = 250_000


class QdrantIndex:
    """See VectorIndex: one collection for each encoder, `winnow_seeds_<fingerprint>`, and the alias `winnow_seeds`.

    A group (an issue's positives or its negatives) is a tenant: every search is of one group. So there is no graph over
    the whole collection, where a filter would cut the paths (m is 0), but one for each group (payload_m, 16 links, the
    library's usual number), and the points of a group lie together on disk (is_tenant). Groups of less than 10 MB
    (Qdrant's full_scan_threshold) are searched exactly. Seeds that are passed over are filtered by a payload index.

    Calls are synchronous, in threads of their own: a hung server holds those, and neither the loop nor other work.

    Args:
        url: of the server, with its HTTP port.
        encoder: fingerprint of the encoder.
        dim: length of its vectors.
        api_key: of the server.
        timeout_s: for one call, seconds.
        threads: calls at a time.
        grpc_port: where gRPC is spoken; None speaks HTTP.
        replicas: copies of each shard, when the collection is made.
        shards: parts of the collection, when it is made.
        connect: makes another client in place of one of `url`, for tests and benchmarks of the library's local mode,
            which takes one thread.
    """

    shared = True

    def __init__(
        self,
        url: str,
        encoder: str,
        dim: int,
        *,
        api_key: SecretStr | None = None,
        timeout_s: int = 5,
        threads: int = 8,
        grpc_port: int | None = None,
        replicas: int = 1,
        shards: int = 1,
        connect: Callable[[], QdrantClient] | None = None,
    ) -> None:
        self._url = url
        self._collection = f"{ALIAS}_{encoder}"
        self._dim = dim
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._grpc_port = grpc_port
        self._replicas = replicas
        self._shards = shards
        self._connect = connect or self._client_of_url
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="qdrant")
        self._client: QdrantClient | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """See VectorIndex. Called once more, it makes the collection again where the server has lost it."""
        async with self._opening:
            if self._client is None:
                self._client = await self._call(self._connect)
            client = self._client
            await self._call(lambda: self._prepare(client))

    async def close(self) -> None:
        """See VectorIndex."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, client.close)
        self._threads.shutdown(wait=False)

    async def put(self, entries: Sequence[Entry]) -> None:
        """See VectorIndex."""
        client = self._opened()
        for portion in portions(last_of_each(entries), max(1, _PORTION_NUMBERS // self._dim)):
            await self._call(lambda portion=portion: self._put(client, portion))  # type: ignore[misc]

    async def remove(self, seed_ids: Collection[str]) -> None:
        """See VectorIndex."""
        client = self._opened()
        for page in pages(seed_ids, _PAGE):
            await self._call(lambda page=page: self._delete(client, _among(page)))  # type: ignore[misc]

    async def search(
        self,
        vectors: Vectors,
        groups: Sequence[Group],
        limit: int,
        *,
        exclude: Excluded = NOTHING,
        deadline: Deadline | None = None,
    ) -> Found:
        """See VectorIndex. A thread whose caller has left ends with the call to the server that it is in."""
        client = self._opened()
        return await self._call(lambda: self._search(client, vectors, groups, limit, exclude, deadline))

    async def seed_ids(self) -> frozenset[str]:
        """See VectorIndex."""
        client = self._opened()
        return await self._call(lambda: frozenset(_seed_of(point) for page in self._pages(client) for point in page))

    async def ping(self) -> None:
        """See VectorIndex."""
        client = self._opened()
        if not await self._call(lambda: client.collection_exists(self._collection)):
            raise NotReady("The Qdrant server has no collection of the live encoder.")

    async def make_live(self) -> None:
        """See VectorIndex; in one step, so that the alias always points at something."""
        client = self._opened()
        await self._call(lambda: self._point_alias(client))

    def _opened(self) -> QdrantClient:
        if self._client is None:
            raise NotReady("The index is closed." if self._closed else "The index is not open.")
        return self._client

    async def _call(self, function: Callable[[], T]) -> T:
        if self._closed:
            raise NotReady("The index is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function)
        except (NotReady, DeadlineExceeded):
            raise
        except Exception as error:
            logger.warning("a call to the Qdrant server failed", extra={"reason": repr(error)})
            raise NotReady("The Qdrant server does not answer.") from error

    def _client_of_url(self) -> QdrantClient:
        return QdrantClient(
            url=self._url,
            api_key=self._api_key.get_secret_value() if self._api_key else None,
            timeout=self._timeout_s,
            prefer_grpc=self._grpc_port is not None,
            grpc_port=self._grpc_port or 6334,
            # It would ask the server in a thread that nobody hears.
            check_compatibility=False,
        )

    def _prepare(self, client: QdrantClient) -> None:
        """Makes collection and payload indexes. All may be there, and other replicas may be at it."""
        if not client.collection_exists(self._collection):
            try:
                client.create_collection(
                    self._collection,
                    vectors_config=models.VectorParams(size=self._dim, distance=models.Distance.COSINE),
                    hnsw_config=models.HnswConfigDiff(m=0, payload_m=16),
                    replication_factor=self._replicas,
                    shard_number=self._shards,
                )
            except Exception:
                if not client.collection_exists(self._collection):
                    raise
        for field in (GROUP, SEED):
            schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=field == GROUP)
            client.create_payload_index(self._collection, field, schema, wait=True)

    def _put(self, client: QdrantClient, entries: Sequence[Entry]) -> None:
        points = points_of(entries)
        client.upsert(
            self._collection,
            [models.PointStruct(id=point.id, vector=point.vector, payload=dict(point.payload)) for point in points],
            wait=True,
        )
        # Last, so that a seed that is replaced is there throughout.
        stale = _among([entry.seed_id for entry in entries])
        stale.must_not = [models.HasIdCondition(has_id=[point.id for point in points])]
        self._delete(client, stale)

    def _delete(self, client: QdrantClient, chosen: models.Filter) -> None:
        client.delete(self._collection, models.FilterSelector(filter=chosen), wait=True)

    def _search(
        self,
        client: QdrantClient,
        vectors: Vectors,
        groups: Sequence[Group],
        limit: int,
        exclude: Excluded,
        deadline: Deadline | None,
    ) -> Found:
        queries = vectors.tolist()
        longest = max((len(exclude.get(group, ())) for group in groups), default=0)
        at_a_time = max(1, min(_QUERIES, _IDS // max(1, longest)) // max(1, len(queries)))
        found: dict[Group, list[list[Hit]]] = {}
        for start in range(0, len(groups), at_a_time):
            asked = groups[start : start + at_a_time]
            if deadline is not None:
                deadline.check()
            requests = [
                models.QueryRequest(query=query, filter=chosen, limit=limit, with_payload=[SEED])
                for chosen in (_group_without(group, exclude.get(group, ())) for group in asked)
                for query in queries
            ]
            answers = client.query_batch_points(self._collection, requests, timeout=self._call_timeout(deadline))
            hits = [[_hit(point) for point in answer.points] for answer in answers]
            found |= {group: hits[i * len(queries) : (i + 1) * len(queries)] for i, group in enumerate(asked)}
        return found

    def _call_timeout(self, deadline: Deadline | None) -> int:
        """Whole seconds, at least one: what the server is told that it may take."""
        remaining = self._timeout_s if deadline is None else math.ceil(deadline.remaining())
        return max(1, min(self._timeout_s, remaining))

    def _pages(self, client: QdrantClient) -> Iterator[list[models.Record]]:
        offset: Any = None
        while True:
            page, offset = client.scroll(self._collection, limit=_PAGE, offset=offset, with_payload=[SEED])
            yield page
            if offset is None:
                return

    def _point_alias(self, client: QdrantClient) -> None:
        now = {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}.get(ALIAS)
        if now == self._collection:
            return
        create = models.CreateAlias(collection_name=self._collection, alias_name=ALIAS)
        steps: list[models.AliasOperations] = [models.CreateAliasOperation(create_alias=create)]
        if now is not None:
            steps.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=ALIAS)))
        client.update_collection_aliases(steps)


def _among(seed_ids: Collection[str]) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key=SEED, match=models.MatchAny(any=sorted(seed_ids)))])


def _group_without(group: Group, exclude: Collection[str]) -> models.Filter:
    passed = models.FieldCondition(key=SEED, match=models.MatchAny(any=sorted(exclude)))
    of_group = models.FieldCondition(key=GROUP, match=models.MatchValue(value=group.key))
    return models.Filter(must=[of_group], must_not=[passed] if exclude else None)


def _seed_of(point: models.Record | models.ScoredPoint) -> str:
    return str((point.payload or {}).get(SEED, ""))


def _hit(point: models.ScoredPoint) -> Hit:
    return Hit(_seed_of(point), min(1.0, max(-1.0, point.score)))
