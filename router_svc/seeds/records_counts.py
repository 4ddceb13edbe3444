"""What is counted of seeds: their hits, added up over all replicas, and how many are in each state."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import bindparam, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from router_svc.bank.points import pages
from router_svc.seeds.records_base import BATCH, RecordsBase
from router_svc.seeds.tables import UtcTime, seeds
from router_svc.seeds.watch import SeedHits
from services.contracts import SeedState, SeedStats


class CountRecords(RecordsBase):
    """Counts of the seeds; see RecordsBase."""

    async def count(self, hits: Sequence[SeedHits]) -> None:
        """Adds hits to what was counted, all or none; this is no change of a seed: its version stays."""
        if not hits:
            return
        at = bindparam("at", type_=UtcTime)
        later = seeds.c.last_hit_at.is_(None) | (seeds.c.last_hit_at < at)
        statement = (
            update(seeds)
            .where(seeds.c.id == bindparam("seed"))
            .values(
                hits=seeds.c.hits + bindparam("more_hits"),
                confirmed=seeds.c.confirmed + bindparam("more_confirmed"),
                refuted=seeds.c.refuted + bindparam("more_refuted"),
                last_hit_at=case((later, at), else_=seeds.c.last_hit_at),
            )
        )
        rows = [
            {
                "seed": each.seed_id,
                "more_hits": each.hits,
                "more_confirmed": each.confirmed,
                "more_refuted": each.refuted,
                "at": each.last_hit_at,
            }
            # Two replicas that count the same seeds would wait for each other in another order.
            for each in sorted(hits, key=lambda each: each.seed_id)
        ]
        await self._write(lambda connection: connection.execute(statement, rows))

    async def trials(self, seed_ids: Collection[str]) -> dict[str, SeedStats]:
        """What was counted of seeds in their present trial: what the watch judges; `get` tells all that ever was.

        A trial begins when a seed is added or restored, and when an operator makes it active again.
        """

        async def work(connection: AsyncConnection) -> dict[str, SeedStats]:
            counts = (
                (seeds.c.hits - seeds.c.hits_before).label("hits"),
                (seeds.c.confirmed - seeds.c.confirmed_before).label("confirmed"),
                (seeds.c.refuted - seeds.c.refuted_before).label("refuted"),
            )
            found = {}
            for ids in pages(seed_ids, BATCH):
                query = select(seeds.c.id, *counts, seeds.c.last_hit_at).where(seeds.c.id.in_(ids))
                for row in (await connection.execute(query)).mappings():
                    found[row["id"]] = SeedStats.model_validate(dict(row))
            return found

        return await self._read(work)

    async def states(self) -> dict[SeedState, int]:
        """How many seeds are in each state; a state that none is in is absent."""
        query = select(seeds.c.state, func.count().label("count")).group_by(seeds.c.state)
        return {row["state"]: row["count"] for row in await self._rows(query)}

    async def removed_before(self, when: datetime) -> list[str]:
        """Ids of the seeds that were removed before a time."""
        query = select(seeds.c.id).where(seeds.c.state == "removed", seeds.c.removed_at < when)
        return [row["id"] for row in await self._rows(query)]
