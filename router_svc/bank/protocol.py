"""What an index of seed vectors is, and how seeds are named."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.contracts import SeedKind
from services.deadline import Deadline

Vectors = npt.NDArray[np.float32]


class Group(NamedTuple):
    """What is searched together: one issue's seeds, or its known look-alikes. Neither crowds out the other."""

    issue: str
    negative: bool

    @property
    def key(self) -> str:
        """The group as one word, e.g. `weapon_threat/positive`."""
        return f"{self.issue}/{'negative' if self.negative else 'positive'}"

    @classmethod
    def of(cls, issue: str, kind: SeedKind) -> "Group":
        """The group of a seed."""
        return cls(issue, kind == "negative")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A seed as an index holds it.

    Attributes:
        seed_id: the seed.
        group: what it is searched with.
        vectors: [k, dim] float32, rows of length 1, at least one.
    """

    seed_id: str
    group: Group
    vectors: Vectors


class Hit(NamedTuple):
    """A vector that resembles a frame: its seed and the cosine, in [-1, 1]."""

    seed_id: str
    similarity: float


Found = Mapping[Group, Sequence[Sequence[Hit]]]
"""For each group and each frame the hits, most similar first. A group without entries may be absent."""


Excluded = Mapping[Group, Collection[str]]
"""Seeds of each group that a search passes over. By group, because every query carries its own to a server."""

NOTHING: Excluded = MappingProxyType({})


class VectorIndex(Protocol):
    """Frame vectors under seed ids, of one encoder. Derived from the seed records: it may be lost and is built again.

    Every call but `close` raises NotReady where the index cannot be reached. None blocks the event loop.
    """

    @property
    def shared(self) -> bool:
        """Whether other replicas search the same index, a server's, or this one is the process's own."""

    async def open(self) -> None:
        """Opens the index, and makes it where there is none. Called again until it succeeds."""

    async def close(self) -> None:
        """Closes it."""

    async def put(self, entries: Sequence[Entry]) -> None:
        """Makes seeds searchable; the vectors that an id had before are replaced. It outlives the process."""

    async def remove(self, seed_ids: Collection[str]) -> None:
        """Takes seeds out; an id that is not there is no error."""

    async def search(
        self,
        vectors: Vectors,
        groups: Sequence[Group],
        limit: int,
        *,
        exclude: Excluded = NOTHING,
        deadline: Deadline | None = None,
    ) -> Found:
        """Of each group: the `limit` most similar vectors for each of the [n, dim] frame vectors.

        Args:
            vectors: rows of length 1.
            groups: what is searched.
            limit: most hits of each frame and group.
            exclude: seeds that are passed over as if they were not there.
            deadline: of the caller.

        Raises:
            NotReady: the index does not answer.
            DeadlineExceeded: the deadline passed between two calls to a server.
        """

    async def seed_ids(self) -> frozenset[str]:
        """All seeds that it holds."""

    async def ping(self) -> None:
        """Returns where the index can be asked."""

    async def make_live(self) -> None:
        """Points the name that people and other tools use at this encoder's vectors (an alias); nothing else does."""


def seed_id_of(sha256: str, issue: str, kind: SeedKind, start_s: float, end_s: float) -> str:
    """32 hex digits of bytes, issue, kind and segment (to the millisecond): the same seed twice is one seed."""
    identity = json.dumps([sha256, issue, kind, round(start_s * 1000), round(end_s * 1000)])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
