"""One encoder at work: its batcher, its scale, and an index of the seeds under it that keeps up with the records."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from router_svc.bank import Entry, Group, VectorIndex, Vectors
from router_svc.batcher import EmbedBatcher
from router_svc.metrics import RouterMetrics
from router_svc.seeds.catalogue import Catalogue
from router_svc.seeds.embed import SeedEmbedder
from router_svc.seeds.records import Row, SeedRecords
from services.contracts import EncoderSpec
from services.deadline import Deadline
from services.encoder import Encoder
from services.errors import NotReady
from services.scoring import Background, Match

logger = logging.getLogger(__name__)

PAGE = 1_000
"""Seeds that are read, and put into the index, at a time."""


@dataclass(frozen=True, slots=True)
class IssueMatches:
    """The best matches of every frame with one issue's seeds; positives and negatives do not crowd each other out."""

    positives: tuple[Match, ...] = ()
    negatives: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found: matches by issue, and the revision of the bank that was searched."""

    revision: str
    issues: Mapping[str, IssueMatches]


@dataclass(frozen=True)
class Engine:
    """An encoder that runs, and what belongs to it alone.

    Attributes:
        spec: how it is named.
        encoder: its fingerprint, dimension and input size; frames go through `batcher`.
        background: scale of its similarities.
        configuration: what RouterState says while it serves.
        batcher: runs it.
        index: holds its vectors.
    """

    spec: EncoderSpec
    encoder: Encoder
    background: Background
    configuration: str
    batcher: EmbedBatcher
    index: VectorIndex


class Serving:
    """Searches the seeds under one encoder, and takes in what changes in the records.

    The records are the truth. What the index misses is put into it from the vectors in the records, and a seed that has
    none under this encoder gets them from its stored frames or its sentence.

    Args:
        engine: the encoder and what belongs to it.
        records: the truth.
        embedder: makes vectors that the records miss.
        metrics: count.
        timeout_s: seconds for a search.
        became_active: told of every seed that is searched for from now on, but for those of the beginning.
    """

    def __init__(
        self,
        engine: Engine,
        records: SeedRecords,
        embedder: SeedEmbedder,
        metrics: RouterMetrics,
        *,
        timeout_s: float,
        became_active: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.engine = engine
        self.catalogue = Catalogue()
        self.seen = 0
        """Number of the bank's change up to which the records were read; not every change is one of a seed."""
        self._records = records
        self._embedder = embedder
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._became_active = became_active
        self._synced = False
        self._held: set[str] = set()  # ids in the index
        self._later: set[str] = set()  # ids of seeds whose vectors could not be made for now
        self._syncing = asyncio.Lock()

    @property
    def fingerprint(self) -> str:
        """Of the encoder."""
        return self.engine.encoder.fingerprint

    @property
    def synced(self) -> bool:
        """Whether the index has held all that the records held, once at least."""
        return self._synced

    def revision(self) -> str:
        """Changes whenever the searchable seeds or the encoder change."""
        return self.catalogue.revision(self.fingerprint, datetime.now(UTC))

    async def catch_up(self) -> None:
        """Take in every change of the records. A seed whose vectors cannot be made does not hold up the others.

        Raises:
            NotReady: records or index cannot be reached; what was taken in stays so.
        """
        async with self._syncing:
            if not self._synced:
                await self._compare()
            while rows := await self._records.changes(self.catalogue.last_change, PAGE):
                self._tell(await self._apply(rows))
            self._synced = True

    async def embed_later(self) -> None:
        """Try once more to make the vectors that could not be made, while changes are taken in beside it.

        Raises:
            NotReady: records or index cannot be reached.
        """
        now = datetime.now(UTC)
        rows = [row for row in map(self.catalogue.row, self._later) if row is not None and row.searchable(now)]
        self._later.intersection_update(row.id for row in rows)
        if not rows:
            return
        vectors, later = await self._embedder.vectors(self.engine, [row.id for row in rows])
        async with self._syncing:
            # Anew: meanwhile one may have been removed.
            ready = [row for row in rows if row.id in vectors and self.catalogue.misses(row.id)]
            await self._put(ready, vectors)
            self._later.difference_update({row.id for row in rows} - later)
            self.catalogue.arrived(row.id for row in ready)
        self._tell(ready)

    async def put_away_expired(self) -> None:
        """Take seeds that have expired out of the index: passing over them would slow down every search.

        Raises:
            NotReady: the index cannot be reached.
        """
        if not self.catalogue.expired(datetime.now(UTC)):
            return
        async with self._syncing:
            # Anew: meanwhile one may have been given a later time.
            expired = self.catalogue.expired(datetime.now(UTC))
            if gone := expired & self._held:
                await self.engine.index.remove(gone)
                self._held.difference_update(gone)
            self.catalogue.put_away(expired)

    async def check(self) -> None:
        """Compare the whole index with the records, e.g. because a server lost its data. Errors as `catch_up`."""
        async with self._syncing:
            await self._compare()

    async def search(
        self, vectors: Vectors, issues: Sequence[str], limit: int, *, sha256: str, deadline: Deadline | None = None
    ) -> Searched:
        """Of each issue: the `limit` most similar vectors of either sort for each of the [n, dim] frame vectors.

        Args:
            vectors: rows of length 1.
            issues: ids.
            limit: most matches of each frame, issue and sort.
            sha256: of the video's bytes; decides which seeds with a share of traffic take part.
            deadline: of the caller.

        Raises:
            NotReady: the index does not answer, or not in time.
            DeadlineExceeded: the deadline passed first.
        """
        now = datetime.now(UTC)
        catalogue = self.catalogue
        filled = catalogue.groups(now)
        groups = [group for issue in issues for group in (Group(issue, False), Group(issue, True)) if group in filled]
        revision = catalogue.revision(self.fingerprint, now)
        try:
            async with asyncio.timeout(self._timeout_s):
                found = (
                    await self.engine.index.search(
                        vectors, groups, limit, exclude=catalogue.excluded(sha256, now), deadline=deadline
                    )
                    if groups
                    else {}
                )
        except TimeoutError as error:
            raise NotReady(f"The seed bank did not answer within {self._timeout_s:g} s.") from error

        def matches(group: Group) -> tuple[Match, ...]:
            return tuple(
                Match(frame, hit.seed_id, row.kind, min(1.0, max(-1.0, hit.similarity)))
                for frame, hits in enumerate(found.get(group, ()))
                for hit in hits
                # The index of a server may hold more than this replica has heard of, or less.
                if (row := catalogue.row(hit.seed_id)) is not None and row.searchable(now)
            )

        return Searched(
            revision,
            {issue: IssueMatches(matches(Group(issue, False)), matches(Group(issue, True))) for issue in issues},
        )

    async def stored_vectors(self, seed_ids: Sequence[str]) -> Mapping[str, Vectors]:
        """Vectors as the records have them, [k, dim] each. Raises NotReady where they cannot be reached."""
        return await self._records.vectors(self.fingerprint, seed_ids)

    async def close(self) -> None:
        """Stop the encoder and close the index."""
        await self.engine.batcher.close()
        await self.engine.index.close()

    async def _compare(self) -> None:
        index = self.engine.index
        await index.open()
        held = self._held = set(await index.seed_ids())
        active: set[str] = set()
        since = 0
        # A page at a time: to make rows of a whole bank would stop the event loop for seconds.
        while rows := await self._records.changes(since, PAGE):
            since = rows[-1].change
            await self._apply(rows)
            active.difference_update(row.id for row in rows)
            active.update(row.id for row in rows if row.state == "active")
        if left_over := held - active:
            await index.remove(left_over)
            held.difference_update(left_over)

    async def _apply(self, rows: Sequence[Row]) -> list[Row]:
        """Index first, catalogue last: what the catalogue names can be found. Gives the rows that became searchable."""
        now = datetime.now(UTC)
        gone = [row.id for row in rows if not row.searchable(now) and row.id in self._held]
        new = [row for row in rows if row.searchable(now) and row.id not in self._held]
        if gone:
            await self.engine.index.remove(gone)
            self._held.difference_update(gone)
        vectors, later = await self._embedder.vectors(self.engine, [row.id for row in new])
        found = [row for row in new if row.id in vectors]
        await self._put(found, vectors)
        self._later |= later
        self.catalogue.apply(rows, {row.id for row in new} - vectors.keys())
        self.catalogue.arrived(row.id for row in found)
        return found

    async def _put(self, rows: Sequence[Row], vectors: Mapping[str, Vectors]) -> None:
        if rows:
            await self.engine.index.put([Entry(row.id, row.group, vectors[row.id]) for row in rows])
            self._held.update(row.id for row in rows)

    def _tell(self, new: Sequence[Row]) -> None:
        self._metrics.seeds_taken_in(datetime.now(UTC), [row.updated_at for row in new])
        for row in new:
            self._became_active(row.id)
