"""The seed bank in Qdrant: a server, or local mode inside this process. The only module that imports qdrant_client."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import SecretStr
from qdrant_client import QdrantClient, models

from router_svc.bank.protocol import Found, IssueMatches, Vectors, status_of
from services.contracts import BankStatus, Seed
from services.errors import NotReady
from services.scoring import Match

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE = 1_000
_PAYLOAD = ["seed_id", "kind"]


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """The searchable seeds at one moment, by id."""

    seeds: Mapping[str, Seed]
    status: BankStatus

    @classmethod
    def of(cls, encoder: str, seeds: Mapping[str, Seed]) -> Self:
        return cls(seeds, status_of(encoder, seeds))

    def holds(self, issue: str, *, negative: bool) -> bool:
        return issue in self.status.seeds and any(
            seed.issue == issue and (seed.kind == "negative") is negative for seed in self.seeds.values()
        )


class QdrantBank:
    """One unfiltered collection for each issue's positives and one for its negatives, and a catalogue of the seeds.

    Payload filters cost seconds in local mode, hence the collections. Their names carry the encoder's fingerprint, so
    that another encoder's vectors lie beside these. The catalogue is written last: vectors that it does not name are
    left over from a crash and are not searchable. It is held in memory, and read again when its size on the server
    says that another replica has added seeds.

    Args:
        encoder: fingerprint of the encoder.
        dim: length of its vectors.
        path: directory of local mode; no other process may have it open.
        url: of a server; then `path` is not used.
        api_key: of the server.
        timeout_s: for one call to the server, seconds.
        threads: calls at a time to the server; local mode is not thread-safe and has one.
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

    async def search(self, vectors: Vectors, issues: Sequence[str], limit: int) -> Found:
        """See SeedBank."""
        client = await self._ready()
        return await self._reach(lambda: self._search(client, vectors, issues, limit))

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
        seeds: dict[str, Seed] = {}
        offset: Any = None
        while True:
            points, offset = client.scroll(self._records, limit=_PAGE, offset=offset, with_payload=True)
            for point in points:
                seed = Seed.model_validate(point.payload)
                seeds[seed.id] = seed
            if offset is None:
                return _Catalogue.of(self._encoder, seeds)

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
        return seed, True

    def _search(self, client: QdrantClient, vectors: Vectors, issues: Sequence[str], limit: int) -> Found:
        catalogue = self._current(client)
        queries = vectors.tolist()

        def best(issue: str, *, negative: bool) -> tuple[Match, ...]:
            if not catalogue.holds(issue, negative=negative):
                return ()
            requests = [models.QueryRequest(query=query, limit=limit, with_payload=_PAYLOAD) for query in queries]
            answers = client.query_batch_points(self._collection(issue, negative=negative), requests)
            return tuple(
                Match(frame, seed.id, seed.kind, min(1.0, max(-1.0, point.score)))
                for frame, answer in enumerate(answers)
                for point in answer.points
                if (seed := catalogue.seeds.get((point.payload or {}).get("seed_id", ""))) is not None
            )

        found = {
            issue: IssueMatches(positives=best(issue, negative=False), negatives=best(issue, negative=True))
            for issue in issues
        }
        return Found(catalogue.status.revision, found)

    def _collection(self, issue: str, *, negative: bool) -> str:
        return f"winnow_{self._encoder}_{issue}_{'negative' if negative else 'positive'}"


def _point_id(seed_id: str, row: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed_id} {row}"))
