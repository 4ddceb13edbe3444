"""Exact search in memory: the vectors of a group as one matrix, all frames of a video in one product."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import numpy as np

from router_svc.bank.protocol import Entry, Excluded, Found, Group, Hit, Vectors

# Multiplications in one product. OpenBLAS takes one thread up to here and all cores beyond, which have to wait for one
# another: on two busy cores, 8 frames with 10,000 vectors cost 68 ms of CPU in one product and 3 ms in such blocks.
_BLOCK = 262_144


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The vectors of one group. Never changed: a search may go on with the old ones.

    Attributes:
        vectors: [n, dim] float32, rows of length 1.
        seed_ids: the seed of each row; the rows of a seed stand together.
        places: the rows of each seed.
    """

    vectors: Vectors
    seed_ids: tuple[str, ...]
    places: Mapping[str, slice]

    @classmethod
    def of(cls, vectors: Vectors, seed_ids: tuple[str, ...]) -> Self:
        """Rows of length 1 and their seeds."""
        return cls(vectors, seed_ids, dict(_runs(seed_ids)))

    @classmethod
    def empty(cls, dim: int) -> Self:
        """No vectors."""
        return cls.of(np.empty((0, dim), np.float32), ())

    def joined(self, vectors: Vectors, seed_ids: tuple[str, ...]) -> "Rows":
        """These rows and more, which are brought to length 1, of seeds that are not among these."""
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
        return Rows.of(np.concatenate([self.vectors, unit]), self.seed_ids + seed_ids)

    def without(self, seed_ids: Collection[str]) -> "Rows":
        """These rows but those of some seeds."""
        gone = [self.places[seed_id] for seed_id in seed_ids if seed_id in self.places]
        if not gone:
            return self
        kept = np.ones(len(self.vectors), bool)
        for place in gone:
            kept[place] = False
        return Rows.of(self.vectors[kept], tuple(self.seed_ids[row] for row in np.flatnonzero(kept)))

    def best(self, queries: Vectors, limit: int, exclude: Collection[str] = ()) -> list[list[Hit]]:
        """For each row of `queries`, [m, dim], the most similar vectors of seeds that are not excluded, best first."""
        passed = [self.places[seed_id] for seed_id in exclude if seed_id in self.places]
        count = min(limit, len(self.seed_ids) - sum(place.stop - place.start for place in passed))
        if count <= 0:
            return [[] for _ in queries]
        cosines = np.clip(_product(queries, self.vectors), -1.0, 1.0)
        for place in passed:
            cosines[:, place] = -np.inf
        top = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(cosines, top, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
        return [
            [Hit(self.seed_ids[column], value) for column, value in zip(columns, similar, strict=True)]
            for columns, similar in zip(top.tolist(), values.tolist(), strict=True)
        ]


class Arrays:
    """The vectors of all groups. Not for several threads at a time.

    Args:
        dim: length of the vectors.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._rows: dict[Group, Rows] = {}
        self._groups: dict[str, Group] = {}

    def __len__(self) -> int:
        """Vectors in all."""
        return sum(len(rows.seed_ids) for rows in self._rows.values())

    @property
    def seed_ids(self) -> frozenset[str]:
        """All seeds."""
        return frozenset(self._groups)

    def put(self, entries: Sequence[Entry]) -> None:
        """Adds seeds, or replaces their vectors; every seed once."""
        self.remove([entry.seed_id for entry in entries])
        for group, of_group in _by_group(entries):
            owners = tuple(entry.seed_id for entry in of_group for _ in entry.vectors)
            vectors = np.concatenate([entry.vectors for entry in of_group])
            self._rows[group] = self._rows.get(group, Rows.empty(self._dim)).joined(vectors, owners)
            self._groups |= {entry.seed_id: group for entry in of_group}

    def remove(self, seed_ids: Collection[str]) -> None:
        """Takes seeds out; an id that is not there is no error."""
        gone: dict[Group, list[str]] = {}
        for seed_id in seed_ids:
            if (group := self._groups.pop(seed_id, None)) is not None:
                gone.setdefault(group, []).append(seed_id)
        for group, of_group in gone.items():
            self._rows[group] = self._rows[group].without(of_group)

    def search(self, queries: Vectors, groups: Sequence[Group], limit: int, exclude: Excluded) -> Found:
        """See VectorIndex."""
        return {
            group: self._rows[group].best(queries, limit, exclude.get(group, ()))
            for group in groups
            if group in self._rows
        }


def _product(queries: Vectors, vectors: Vectors) -> Vectors:
    step = max(1, _BLOCK // max(1, queries.size))
    products = np.empty((len(queries), len(vectors)), np.float32)
    for start in range(0, len(vectors), step):
        np.matmul(queries, vectors[start : start + step].T, out=products[:, start : start + step])
    return products


def _runs(seed_ids: Sequence[str]) -> Iterator[tuple[str, slice]]:
    start = 0
    for seed_id, run in groupby(seed_ids):
        end = start + sum(1 for _ in run)
        yield seed_id, slice(start, end)
        start = end


def _by_group(entries: Sequence[Entry]) -> Iterator[tuple[Group, list[Entry]]]:
    for group, of_group in groupby(sorted(entries, key=lambda entry: entry.group), key=lambda entry: entry.group):
        yield group, list(of_group)
