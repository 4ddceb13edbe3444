"""What a replica knows of every seed, in memory: which are searched for now, and what names that state. Pure."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from router_svc.bank.protocol import Group
from services.contracts import SeedKind, SeedState
from services.fingerprint import fingerprint
from services.scoring.share import takes_part

_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Row:
    """A seed as far as searching needs it.

    Attributes:
        id: of the seed.
        issue: that it stands for.
        kind: of seed; a negative one lowers the risk.
        state: only an active seed is searched for.
        share: of the videos that it is compared with, in (0, 1].
        expires_at: from then on it is not searched for; UTC.
        vectors: how many it has.
        updated_at: when it was changed last; UTC.
        change: number of its last change; a greater one is newer.
    """

    id: str
    issue: str
    kind: SeedKind
    state: SeedState
    share: float
    expires_at: datetime | None
    vectors: int
    updated_at: datetime
    change: int

    @property
    def group(self) -> Group:
        """What it is searched with."""
        return Group.of(self.issue, self.kind)

    def searchable(self, now: datetime) -> bool:
        """Whether it is active and has not expired."""
        return self.state == "active" and (self.expires_at is None or self.expires_at > now)


class Catalogue:
    """All seeds that the records told of.

    A change costs the time of one seed and not of all: what is asked for with every video is kept up to date. `now` is
    an aware time, and is taken never to go back: a seed that has expired stays so until its record changes.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._last_change = 0
        self._searchable: dict[str, Row] = {}
        self._shared: dict[str, Row] = {}  # those of them with less than the whole traffic
        self._groups: Counter[Group] = Counter()
        self._issues: Counter[str] = Counter()
        self._expired: set[str] = set()  # those of them that the index may still hold
        self._missing: set[str] = set()  # active, and not in the index
        self._due: list[tuple[datetime, str]] = []  # a heap; an entry may be out of date
        self._sum = 0
        self._snapshot: Mapping[str, Row] | None = None
        self._revision: tuple[str, int, str] | None = None

    @property
    def last_change(self) -> int:
        """The greatest change number that was applied; 0 before the first."""
        return self._last_change

    def apply(self, rows: Iterable[Row], missing: Collection[str] = ()) -> None:
        """Takes over what changed; a row that is older than what is known is passed over.

        Args:
            rows: as the records have them.
            missing: ids of those that the index does not hold; they are not searched for before `arrived`.
        """
        for row in rows:
            known = self._rows.get(row.id)
            self._last_change = max(self._last_change, row.change)
            if known is not None and known.change >= row.change:
                continue
            self._rows[row.id] = row
            self._issues[row.issue] += (row.state != "removed") - (known is not None and known.state != "removed")
            self._leave(row.id)
            self._expired.discard(row.id)
            self._missing.discard(row.id)
            if row.state == "active" and row.id in missing:
                self._missing.add(row.id)
            elif row.state == "active":
                self._enter(row)

    def arrived(self, seed_ids: Iterable[str]) -> None:
        """Told that the index holds these seeds now: those that it missed are searched for."""
        for seed_id in self._missing.intersection(seed_ids):
            self._missing.discard(seed_id)
            self._enter(self._rows[seed_id])

    def misses(self, seed_id: str) -> bool:
        """Whether this seed is active and the index does not hold it."""
        return seed_id in self._missing

    def row(self, seed_id: str) -> Row | None:
        """What is known of a seed, a removed one too; None where there is no such seed."""
        return self._rows.get(seed_id)

    def rows(self) -> Collection[Row]:
        """Every seed that is known, the removed ones too; a view, which later changes touch."""
        return self._rows.values()

    def issues(self) -> set[str]:
        """The issues that have at least one seed that is not removed."""
        return {issue for issue, count in self._issues.items() if count}

    def shares(self) -> dict[str, float]:
        """The share of traffic of each searchable seed that has less than all of it, in (0, 1)."""
        return {seed_id: row.share for seed_id, row in self._shared.items()}

    def searchable(self, now: datetime) -> Mapping[str, Row]:
        """The active and unexpired seeds by id. A later change does not touch what was returned."""
        self._expire(now)
        if self._snapshot is None:
            self._snapshot = MappingProxyType(dict(self._searchable))
        return self._snapshot

    def groups(self, now: datetime) -> set[Group]:
        """The groups that have at least one searchable seed."""
        self._expire(now)
        return set(self._groups)

    def expired(self, now: datetime) -> frozenset[str]:
        """The active seeds that have expired, without those that were put away."""
        self._expire(now)
        return frozenset(self._expired)

    def put_away(self, seed_ids: Collection[str]) -> None:
        """Told that the index does not hold these expired seeds: no search has to pass over them any longer."""
        self._expired.difference_update(seed_ids)

    def excluded(self, sha256: str, now: datetime) -> dict[Group, set[str]]:
        """Seeds of the index, by group, that a video is not compared with: expired, or it is outside of their share.

        Args:
            sha256: of the video's bytes.
            now: the time.
        """
        self._expire(now)
        found: dict[Group, set[str]] = {}
        for seed_id, row in self._shared.items():
            if not takes_part(sha256, seed_id, row.share):
                found.setdefault(row.group, set()).add(seed_id)
        for seed_id in self._expired:
            found.setdefault(self._rows[seed_id].group, set()).add(seed_id)
        return found

    def revision(self, encoder: str, now: datetime) -> str:
        """16 hex digits that name the encoder and the searchable seeds with their shares, and nothing else.

        Each seed is hashed by itself and the hashes are added (mod 2^256), so that the order does not matter and a
        change costs one hash: Bellare and Micciancio, "A new paradigm for collision-free hashing: incrementality at
        reduced cost", EUROCRYPT 1997 (AdHash). An id is a hash already, so that nobody can choose what is added.
        """
        self._expire(now)
        if self._revision is None or self._revision[:2] != (encoder, self._sum):
            self._revision = (encoder, self._sum, fingerprint([encoder, f"{self._sum:064x}"])[:16])
        return self._revision[2]

    def _enter(self, row: Row) -> None:
        self._searchable[row.id] = row
        if row.share < 1.0:
            self._shared[row.id] = row
        self._groups[row.group] += 1
        self._sum = (self._sum + _weight(row)) % _MODULUS
        self._snapshot = None
        if row.expires_at is not None:
            heapq.heappush(self._due, (row.expires_at, row.id))

    def _leave(self, seed_id: str) -> None:
        row = self._searchable.pop(seed_id, None)
        if row is None:
            return
        self._shared.pop(seed_id, None)
        self._groups[row.group] -= 1
        if not self._groups[row.group]:
            del self._groups[row.group]
        self._sum = (self._sum - _weight(row)) % _MODULUS
        self._snapshot = None

    def _expire(self, now: datetime) -> None:
        while self._due and self._due[0][0] <= now:
            due, seed_id = heapq.heappop(self._due)
            row = self._searchable.get(seed_id)
            if row is not None and row.expires_at == due:
                self._leave(seed_id)
                self._expired.add(seed_id)


def _weight(row: Row) -> int:
    return int.from_bytes(hashlib.sha256(f"{row.id} {row.share!r}".encode()).digest())
