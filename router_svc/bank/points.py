"""How seeds lie in Qdrant, whether embedded or a server: ids of points, payload, and seeds put together again."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from router_svc.bank.protocol import Entry, Group, Vectors

SEED, GROUP = "seed_id", "group"
"""Fields of the payload: the seed, and the key of its group."""


class Point(NamedTuple):
    """One vector of a seed: the point's id (a UUID), the vector, and its payload."""

    id: str
    vector: list[float]
    payload: dict[str, str]


def points_of(entries: Iterable[Entry]) -> list[Point]:
    """The points of seeds; the same seed has the same ids always, so that putting it twice is putting it once."""
    return [
        Point(_id(entry.seed_id, row), vector, {SEED: entry.seed_id, GROUP: entry.group.key})
        for entry in entries
        for row, vector in enumerate(entry.vectors.tolist())
    ]


class Stored(NamedTuple):
    """A point as it is read: seed, key of the group, and vector, [dim] float32, empty where it was not asked for."""

    seed_id: str
    group: str
    vector: Vectors


def entries_of(points: Iterable[Stored]) -> list[Entry]:
    """The seeds that points belong to."""
    rows: dict[tuple[str, str], list[Vectors]] = {}
    for point in points:
        rows.setdefault((point.seed_id, point.group), []).append(point.vector)
    return [Entry(seed_id, _group(key), np.stack(vectors)) for (seed_id, key), vectors in rows.items()]


def last_of_each(entries: Iterable[Entry]) -> list[Entry]:
    """Every seed once, as it was named last."""
    return list({entry.seed_id: entry for entry in entries}.values())


def portions(entries: Sequence[Entry], vectors: int) -> Iterator[list[Entry]]:
    """The entries in order, with about so many vectors at a time."""
    portion: list[Entry] = []
    size = 0
    for entry in entries:
        portion.append(entry)
        size += len(entry.vectors)
        if size >= vectors:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def pages(seed_ids: Collection[str], size: int) -> Iterator[list[str]]:
    """Ids, so many at a time."""
    ids = sorted(seed_ids)
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _id(seed_id: str, row: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed_id} {row}"))


def _group(key: str) -> Group:
    issue, _, side = key.rpartition("/")
    return Group(issue, side == "negative")
