"""A seed bank in memory, exact and small: for tests and as the oracle of the real one."""

from collections.abc import Sequence

import numpy as np

from router_svc.bank.protocol import Found, IssueMatches, Vectors, status_of
from services.contracts import BankStatus, Seed
from services.deadline import Deadline
from services.scoring import Match


class MemoryBank:
    """Seeds and their vectors in dictionaries; search is a matrix product."""

    def __init__(self, encoder: str) -> None:
        self._encoder = encoder
        self._seeds: dict[str, Seed] = {}
        self._vectors: dict[str, Vectors] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def add(self, seed: Seed, vectors: Vectors) -> tuple[Seed, bool]:
        """See SeedBank."""
        if seed.id in self._seeds:
            return self._seeds[seed.id], False
        self._seeds[seed.id], self._vectors[seed.id] = seed, vectors
        return seed, True

    async def search(
        self, vectors: Vectors, issues: Sequence[str], limit: int, deadline: Deadline | None = None
    ) -> Found:
        """See SeedBank."""
        found = {
            issue: IssueMatches(
                positives=self._best(vectors, issue, limit, negative=False),
                negatives=self._best(vectors, issue, limit, negative=True),
            )
            for issue in issues
        }
        return Found(status_of(self._encoder, self._seeds).revision, found)

    async def status(self) -> BankStatus:
        """See SeedBank."""
        return status_of(self._encoder, self._seeds)

    def _best(self, vectors: Vectors, issue: str, limit: int, *, negative: bool) -> tuple[Match, ...]:
        seeds = [s for s in self._seeds.values() if s.issue == issue and (s.kind == "negative") is negative]
        owners = [seed for seed in seeds for _ in range(len(self._vectors[seed.id]))]
        if not owners:
            return ()
        cosines = np.clip(vectors @ np.concatenate([self._vectors[seed.id] for seed in seeds]).T, -1.0, 1.0)
        return tuple(
            Match(frame, owners[column].id, owners[column].kind, float(cosines[frame, column]))
            for frame in range(len(vectors))
            for column in np.argsort(-cosines[frame], kind="stable")[:limit]
        )
