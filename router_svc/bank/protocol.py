"""What a seed bank is, and how seeds and revisions are named."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.contracts import BankStatus, Seed, SeedKind
from services.deadline import Deadline
from services.scoring import Match

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class IssueMatches:
    """The best matches of every frame with one issue's seeds; positives and negatives do not crowd each other out."""

    positives: tuple[Match, ...] = ()
    negatives: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: matches by issue, and the revision of the bank that was searched."""

    revision: str
    issues: Mapping[str, IssueMatches]


class SeedBank(Protocol):
    """Frame vectors under seed ids, searchable by issue. Only one encoder's vectors are in it."""

    async def open(self) -> None:
        """Opens the bank. Raises NotReady where it cannot be reached; every other call then tries again."""

    async def close(self) -> None:
        """Closes it."""

    async def add(self, seed: Seed, vectors: Vectors) -> tuple[Seed, bool]:
        """Makes a seed searchable.

        Args:
            seed: its record; `seed.vectors` is the number of rows.
            vectors: [k, dim] float32, rows of length 1.

        Returns:
            The seed, and True where it is new; an existing one is answered as it was recorded.
        """

    async def search(
        self, vectors: Vectors, issues: Sequence[str], limit: int, deadline: Deadline | None = None
    ) -> Found:
        """Of each issue: the `limit` most similar vectors of either sort for each of the [n, dim] frame vectors.

        Raises:
            NotReady: the bank does not answer.
            DeadlineExceeded: the deadline passed between two calls to its server.
        """

    async def status(self) -> BankStatus:
        """Seeds by issue, vectors, and the revision, which changes whenever the searchable seeds change."""


def seed_id_of(sha256: str, issue: str, kind: SeedKind, start_s: float, end_s: float) -> str:
    """32 hex digits of bytes, issue, kind and segment (to the millisecond): the same seed twice is one seed."""
    identity = json.dumps([sha256, issue, kind, round(start_s * 1000), round(end_s * 1000)])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def revision_of(encoder: str, seed_ids: Iterable[str]) -> str:
    """16 hex digits that depend on the set of searchable seeds and the encoder alone, so that it survives a restart."""
    digest = hashlib.sha256(encoder.encode())
    for seed_id in sorted(seed_ids):
        digest.update(seed_id.encode())
    return digest.hexdigest()[:16]


def status_of(encoder: str, seeds: Mapping[str, Seed]) -> BankStatus:
    """The status of a bank that holds these seeds, by id."""
    counts: dict[str, int] = {}
    for seed in seeds.values():
        counts[seed.issue] = counts.get(seed.issue, 0) + 1
    return BankStatus(
        revision=revision_of(encoder, seeds),
        encoder=encoder,
        seeds=dict(sorted(counts.items())),
        vectors=sum(seed.vectors for seed in seeds.values()),
    )
