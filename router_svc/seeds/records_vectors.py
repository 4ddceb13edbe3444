"""The vectors of seeds in SQL, under every encoder: what an index is built from."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from router_svc.bank.points import pages
from router_svc.bank.protocol import Vectors
from router_svc.seeds.records_base import BATCH, RecordsBase, new_rows
from router_svc.seeds.tables import seed_of, seed_vectors, seeds
from services.contracts import Seed

LITTLE_ENDIAN = np.dtype("<f4")


class VectorRecords(RecordsBase):
    """Vectors by seed and by fingerprint of the encoder; see RecordsBase."""

    async def vectors(self, encoder: str, seed_ids: Collection[str]) -> dict[str, Vectors]:
        """The [k, dim] float32 vectors of those of the seeds that have some of this encoder."""

        async def work(connection: AsyncConnection) -> dict[str, Vectors]:
            found = {}
            for ids in pages(seed_ids, BATCH):
                here = and_(seed_vectors.c.encoder == encoder, seed_vectors.c.seed_id.in_(ids))
                for row in await connection.execute(select(seed_vectors).where(here)):
                    data = np.frombuffer(row.data, LITTLE_ENDIAN).reshape(-1, row.dim)
                    found[row.seed_id] = data.astype(np.float32)
            return found

        return await self._read(work)

    async def put_vectors(self, encoder: str, vectors: Mapping[str, Vectors]) -> None:
        """Keeps [k, dim] vectors by seed id; those that a seed had of this encoder are replaced.

        This is no change of a seed, and no poller hears of it: it fills an encoder that is not live yet.
        """
        if vectors:
            rows = [vector_row(seed_id, encoder, each) for seed_id, each in vectors.items()]
            await self._write(lambda connection: self._put(connection, rows))

    async def without_vectors(self, encoder: str, after: str, limit: int) -> list[Seed]:
        """Seeds without vectors of this encoder, in the order of their ids; a removed seed needs none.

        Args:
            encoder: fingerprint.
            after: the last id of the part before; empty for the first.
            limit: most seeds.
        """
        missing = and_(seeds.c.state != "removed", ~has_vectors(encoder), seeds.c.id > after)
        query = select(seeds).where(missing).order_by(seeds.c.id).limit(limit)
        return [seed_of(row) for row in await self._rows(query)]

    async def counts(self, encoder: str) -> tuple[int, int]:
        """How many seeds have vectors of this encoder, and how many there are; removed ones do not count."""

        async def work(connection: AsyncConnection) -> tuple[int, int]:
            total = select(func.count()).select_from(seeds).where(seeds.c.state != "removed")
            done = await connection.scalar(total.where(has_vectors(encoder)))
            return int(done or 0), int(await connection.scalar(total) or 0)

        return await self._read(work)

    async def _put(self, connection: AsyncConnection, rows: list[dict[str, Any]]) -> None:
        statement = new_rows(self._database, seed_vectors)
        new = {"dim": statement.excluded.dim, "data": statement.excluded.data}
        # Two who put the same seeds would wait for each other in another order.
        rows.sort(key=lambda row: str(row["seed_id"]))
        await connection.execute(statement.on_conflict_do_update(index_elements=["seed_id", "encoder"], set_=new), rows)


def has_vectors(encoder: str) -> ColumnElement[bool]:
    """Whether a row of `seeds` has vectors of this encoder."""
    return exists().where(seed_vectors.c.seed_id == seeds.c.id, seed_vectors.c.encoder == encoder)


def vector_row(seed_id: str, encoder: str, vectors: Vectors) -> dict[str, Any]:
    """The columns of [k, dim] vectors."""
    data = np.ascontiguousarray(vectors, LITTLE_ENDIAN).tobytes()
    return {"seed_id": seed_id, "encoder": encoder, "dim": vectors.shape[1], "data": data}
