"""Exact search in memory: the vectors of a collection as one matrix, all frames of a video in one product."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from router_svc.bank.protocol import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The vectors of one collection.

    Attributes:
        vectors: [n, dim] float32, rows of length 1.
        seed_ids: the seed of each row.
    """

    vectors: Vectors
    seed_ids: tuple[str, ...]

    @classmethod
    def empty(cls, dim: int) -> Self:
        """No vectors."""
        return cls(np.empty((0, dim), np.float32), ())

    def joined(self, vectors: Vectors, seed_ids: tuple[str, ...]) -> "Rows":
        """These rows and more, which are brought to length 1."""
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
        return Rows(np.concatenate([self.vectors, unit]), self.seed_ids + seed_ids)

    def best(self, queries: Vectors, limit: int) -> list[list[tuple[str, float]]]:
        """For each row of `queries`, [m, dim], seed ids and cosines of its most similar vectors, most similar first."""
        count = min(limit, len(self.seed_ids))
        if count == 0:
            return [[] for _ in queries]
        cosines = np.clip(queries @ self.vectors.T, -1.0, 1.0)
        top = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(cosines, top, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
        return [
            [(self.seed_ids[column], value) for column, value in zip(columns, similar, strict=True)]
            for columns, similar in zip(top.tolist(), values.tolist(), strict=True)
        ]
