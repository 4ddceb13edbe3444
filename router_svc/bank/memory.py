"""An index in memory, exact and small: for tests, and as the oracle of the real ones."""

from collections.abc import Collection, Sequence

import numpy as np

from router_svc.bank.protocol import NOTHING, Entry, Excluded, Found, Group, Hit, Vectors
from services.deadline import Deadline


class MemoryIndex:
    """See VectorIndex; search is a matrix product."""

    shared = False

    def __init__(self, encoder: str, dim: int) -> None:
        self._encoder = encoder
        self._dim = dim
        self._entries: dict[str, Entry] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def put(self, entries: Sequence[Entry]) -> None:
        """See VectorIndex."""
        self._entries |= {entry.seed_id: entry for entry in entries}

    async def remove(self, seed_ids: Collection[str]) -> None:
        """See VectorIndex."""
        for seed_id in seed_ids:
            self._entries.pop(seed_id, None)

    async def search(
        self,
        vectors: Vectors,
        groups: Sequence[Group],
        limit: int,
        *,
        exclude: Excluded = NOTHING,
        deadline: Deadline | None = None,
    ) -> Found:
        """See VectorIndex."""
        return {group: self._best(vectors, group, limit, exclude.get(group, ())) for group in groups}

    async def seed_ids(self) -> frozenset[str]:
        """See VectorIndex."""
        return frozenset(self._entries)

    async def ping(self) -> None:
        """It always answers."""

    async def make_live(self) -> None:
        """It has no name."""

    def _best(self, vectors: Vectors, group: Group, limit: int, exclude: Collection[str]) -> list[list[Hit]]:
        entries = [e for e in self._entries.values() if e.group == group and e.seed_id not in exclude]
        owners = [entry.seed_id for entry in entries for _ in entry.vectors]
        if not owners:
            return [[] for _ in vectors]
        cosines = np.clip(vectors @ np.concatenate([entry.vectors for entry in entries]).T, -1.0, 1.0)
        return [
            [Hit(owners[column], float(row[column])) for column in np.argsort(-row, kind="stable")[:limit]]
            for row in cosines
        ]
