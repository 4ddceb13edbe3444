"""The seed bank in Qdrant: a server, or local mode inside this process. The only module that imports qdrant_client."""

import asyncio
import logging
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from pydantic import SecretStr
from qdrant_client import QdrantClient, models

from router_svc.bank.exact import Rows
from router_svc.bank.protocol import Found, IssueMatches, Vectors, status_of
from services.contracts import BankStatus, Seed
from services.deadline import Deadline
from services.errors import DeadlineExceeded, NotReady
from services.scoring import Match

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """The searchable seeds at one moment, by id, and which issues have any: (issue, whether negatives)."""

    seeds: Mapping[str, Seed]
    status: BankStatus
    filled: frozenset[tuple[str, bool]]

    @classmethod
    def of(cls, encoder: str, seeds: Mapping[str, Seed]) -> Self:
        filled = frozenset((seed.issue, seed.kind == "negative") for seed in seeds.values())
        return cls(seeds, status_of(encoder, seeds), filled)


class QdrantBank:
    """One unfiltered collection for each issue's positives and one for its negatives, and a catalogue of the seeds.

    Payload filters cost seconds in local mode, hence the collections. Their names carry the encoder's fingerprint, so
    that another encoder's vectors lie beside these. The catalogue is written last: vectors that it does not name are
    left over from a crash and are not searchable. It is held in memory, and read again when its size on the server
    says that another replica has added seeds.

    Local mode keeps the vectors on disk; they are searched in memory, exactly, as its own search costs more than
    everything else that is done for a small video (docs/decisions/0020).

    Args:
        encoder: fingerprint of the encoder.
        dim: length of its vectors.
        path: directory of local mode; no other process may have it open.
        url: of a server; then `path` is not used.
        api_key: of the server.
        timeout_s: for one call to the server, seconds.
        threads: calls at a time to the server; local mode is not thread-safe and has one.
        in_memory: of local mode: search the matrices in memory. False leaves the search to Qdrant, as with a server.
    """

    def __init__(
        self,
        encoder: str,
        dim: int,
        *,
        path: Path | None = None,
        url: str | None = None,
        api_key: SecretStr | None = None,
        timeout_s: int = 5,
        threads: int = 8,
        in_memory: bool = True,
    ) -> None:
        if (path is None) == (url is None):
            raise ValueError("a Qdrant bank has either a path or a url")
        self._encoder = encoder
        self._dim = dim
        self._path = path
        self._url = url
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._executor = ThreadPoolExecutor(max_workers=threads if url else 1, thread_name_prefix="qdrant")
        self._records = f"winnow_{encoder}_seeds"
        self._catalogue = _Catalogue.of(encoder, {})
        self._in_memory = in_memory and url is None
        self._rows: dict[str, Rows] = {}
        self._client: QdrantClient | None = None
        self._opening = asyncio.Lock()
        self._adding = asyncio.Lock()

    async def open(self) -> None:
        """See SeedBank."""
        async with self._opening:
            if self._client is None:
                try:
                    self._client = await self._call(self._connect)
                except Exception as error:
                    logger.warning("the seed bank cannot be opened", extra={"reason": repr(error)})
                    raise NotReady("The seed bank cannot be opened.") from error

    async def close(self) -> None:
        """See SeedBank."""
        client, self._client = self._client, None
        if client is not None:
            await self._call(client.close)
        await asyncio.to_thread(self._executor.shutdown, wait=True)

    async def add(self, seed: Seed, vectors: Vectors) -> tuple[Seed, bool]:
        """See SeedBank."""
        client = await self._ready()
        async with self._adding:
            return await self._reach(lambda: self._add(client, seed, vectors))

    async def search(
        self, vectors: Vectors, issues: Sequence[str], limit: int, deadline: Deadline | None = None
    ) -> Found:
        """See SeedBank. A thread whose caller has left ends with the call to the server that it is in."""
        client = await self._ready()
        return await self._reach(lambda: self._search(client, vectors, issues, limit, deadline))

    async def status(self) -> BankStatus:
        """See SeedBank."""
        client = await self._ready()
        return await self._reach(lambda: self._current(client).status)

    async def _ready(self) -> QdrantClient:
        if self._client is None:
            await self.open()
        if self._client is None:
            raise NotReady("The seed bank is closed.")
        return self._client

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def _reach(self, function: Callable[[], T]) -> T:
        """A call to the open bank; a server that cannot be reached is NotReady."""
        try:
            return await self._call(function)
        except DeadlineExceeded:
            raise
        except Exception as error:
            logger.exception("a call to the seed bank failed")
            raise NotReady("The seed bank does not answer.") from error

    def _connect(self) -> QdrantClient:
        if self._path is not None:
            self._path.mkdir(parents=True, exist_ok=True)
            client = QdrantClient(path=str(self._path))
        else:
            key = self._api_key.get_secret_value() if self._api_key else None
            # The check of versions would ask the server in a thread that nobody hears.
            client = QdrantClient(url=self._url, api_key=key, timeout=self._timeout_s, check_compatibility=False)
        if not client.collection_exists(self._records):
            # Qdrant's points need a vector; the catalogue has none to search.
            client.create_collection(
                self._records, vectors_config=models.VectorParams(size=1, distance=models.Distance.DOT)
            )
        self._catalogue = self._read(client)
        return client

    def _read(self, client: QdrantClient) -> _Catalogue:
        records = (Seed.model_validate(point.payload) for page in _pages(client, self._records) for point in page)
        return _Catalogue.of(self._encoder, {seed.id: seed for seed in records})

    def _current(self, client: QdrantClient) -> _Catalogue:
        if self._url is not None and client.count(self._records, exact=True).count != len(self._catalogue.seeds):
            self._catalogue = self._read(client)
        return self._catalogue

    def _add(self, client: QdrantClient, seed: Seed, vectors: Vectors) -> tuple[Seed, bool]:
        existing = self._current(client).seeds.get(seed.id)
        if existing is not None:
            return existing, False
        name = self._collection(seed.issue, negative=seed.kind == "negative")
        if not client.collection_exists(name):
            client.create_collection(
                name, vectors_config=models.VectorParams(size=self._dim, distance=models.Distance.COSINE)
            )
        payload = {"seed_id": seed.id, "kind": seed.kind}
        points = [
            models.PointStruct(id=_point_id(seed.id, row), vector=vector.tolist(), payload=payload)
            for row, vector in enumerate(vectors)
        ]
        client.upsert(name, points, wait=True)
        record = models.PointStruct(id=_point_id(seed.id, 0), vector=[1.0], payload=seed.model_dump(mode="json"))
        client.upsert(self._records, [record], wait=True)
        # A new catalogue: searches in other threads go on with the old one.
        self._catalogue = _Catalogue.of(self._encoder, {**self._catalogue.seeds, seed.id: seed})
        if name in self._rows:
            self._rows[name] = self._rows[name].joined(vectors, (seed.id,) * len(vectors))
        return seed, True

    def _search(
        self,
        client: QdrantClient,
        vectors: Vectors,
        issues: Sequence[str],
        limit: int,
        deadline: Deadline | None,
    ) -> Found:
        if deadline is not None:
            deadline.check()
        catalogue = self._current(client)

        def best(issue: str, *, negative: bool) -> tuple[Match, ...]:
            if (issue, negative) not in catalogue.filled:
                return ()
            name = self._collection(issue, negative=negative)
            if self._in_memory:
                answers = self._loaded(client, name, catalogue).best(vectors, limit)
            else:
                if deadline is not None:
                    deadline.check()
                answers = _ask(client, name, vectors, limit, self._call_timeout(deadline))
            return tuple(
                Match(frame, seed.id, seed.kind, min(1.0, max(-1.0, similarity)))
                for frame, answer in enumerate(answers)
                for seed_id, similarity in answer
                if (seed := catalogue.seeds.get(seed_id)) is not None
            )

        found = {
            issue: IssueMatches(positives=best(issue, negative=False), negatives=best(issue, negative=True))
            for issue in issues
        }
        return Found(catalogue.status.revision, found)

    def _loaded(self, client: QdrantClient, name: str, catalogue: _Catalogue) -> Rows:
        """The vectors of a collection that belong to a seed of the catalogue; read from disk the first time."""
        if name not in self._rows:
            rows = Rows.empty(self._dim)
            for page in _pages(client, name, with_vectors=True):
                known = [point for point in page if _seed_of(point) in catalogue.seeds]
                if known:
                    vectors = np.array([point.vector for point in known], np.float32)
                    rows = rows.joined(vectors, tuple(map(_seed_of, known)))
            self._rows[name] = rows
        return self._rows[name]

    def _call_timeout(self, deadline: Deadline | None) -> int:
        """Whole seconds, at least one: what a server is told that it may take."""
        remaining = self._timeout_s if deadline is None else math.ceil(deadline.remaining())
        return max(1, min(self._timeout_s, remaining))

    def _collection(self, issue: str, *, negative: bool) -> str:
        return f"winnow_{self._encoder}_{issue}_{'negative' if negative else 'positive'}"


def _pages(client: QdrantClient, name: str, *, with_vectors: bool = False) -> Iterator[list[models.Record]]:
    """All points of a collection, with their payloads."""
    offset: Any = None
    while True:
        points, offset = client.scroll(name, limit=_PAGE, offset=offset, with_payload=True, with_vectors=with_vectors)
        yield points
        if offset is None:
            return


def _ask(
    client: QdrantClient, name: str, vectors: Vectors, limit: int, timeout_s: int
) -> list[list[tuple[str, float]]]:
    """The most similar vectors of each row, by Qdrant's own search: seed id and cosine."""
    requests = [models.QueryRequest(query=query, limit=limit, with_payload=["seed_id"]) for query in vectors.tolist()]
    answers = client.query_batch_points(name, requests, timeout=timeout_s)
    return [[(_seed_of(point), point.score) for point in answer.points] for answer in answers]


def _seed_of(point: models.Record | models.ScoredPoint) -> str:
    return str((point.payload or {}).get("seed_id", ""))


def _point_id(seed_id: str, row: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed_id} {row}"))
