"""The records of seeds in SQL, which are the truth about the bank: adding, reading and changing them."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from router_svc.bank.protocol import Vectors
from router_svc.seeds.catalogue import Row
from router_svc.seeds.records_bank import BankRecords, BankRow
from router_svc.seeds.records_base import locked_bank, next_change
from router_svc.seeds.records_counts import CountRecords
from router_svc.seeds.records_vectors import VectorRecords, vector_row
from router_svc.seeds.tables import seed_of, seed_vectors, seeds, values_of
from services.contracts import FieldProblem, Seed, SeedChange, SeedFilter, SeedPage, SeedStats
from services.contracts.seeds import SEED_ID
from services.database import without_nul
from services.errors import Conflict, InvalidPayload, NotFound, PreconditionFailed

__all__ = ["BankRow", "Row", "SeedRecords"]

WATCH = "watch"
"""Who quarantines."""


class SeedRecords(VectorRecords, CountRecords, BankRecords):
    """Seeds, their vectors and counts, and the bank's row; see RecordsBase for who may write when."""

    async def add(self, seed: Seed, vectors: Mapping[str, Vectors]) -> tuple[Seed, bool]:
        """Records a new seed with its [k, dim] vectors by encoder; True where it is new.

        One that is there is answered as it is recorded.

        Raises:
            Conflict: it was removed.
        """
        known, new = await self._insert(seed, vectors)
        if known.state == "removed":
            raise Conflict(f"The seed {seed.id} was removed; an operator may make it active again.")
        return known, new

    async def restore(self, seed: Seed, vectors: Mapping[str, Vectors], *, by: str) -> tuple[Seed, bool]:
        """Records a seed as an export holds it, tombstone and counts included; True where it is new.

        Its version starts at 1, and who restores it has changed it last. One that is there stays as it is. What was
        counted elsewhere is not judged here.
        """
        here = {"version": 1, "updated_at": datetime.now(UTC), "updated_by": by}
        return await self._insert(seed.model_copy(update=here), vectors)

    async def get(self, seed_id: str) -> Seed:
        """A seed, a removed one too.

        Raises:
            NotFound: there is none of this id.
        """
        return await self._read(lambda connection: _get(connection, seed_id))

    async def page(self, asked: SeedFilter) -> SeedPage:
        """Some seeds, newest first.

        Raises:
            InvalidPayload: the cursor is none of ours.
        """
        query = select(seeds).order_by(seeds.c.created_at.desc(), seeds.c.id.desc()).limit(asked.limit + 1)
        query = query.where(seeds.c.state != "removed" if asked.state is None else seeds.c.state == asked.state)
        if asked.issue is not None:
            query = query.where(seeds.c.issue == asked.issue)
        if asked.kind is not None:
            query = query.where(seeds.c.kind == asked.kind)
        if asked.cursor is not None:
            at, seed_id = _place_of(asked.cursor)
            same = and_(seeds.c.created_at == at, seeds.c.id < seed_id)
            query = query.where(or_(seeds.c.created_at < at, same))
        found = [seed_of(row) for row in await self._rows(query)]
        shown = found[: asked.limit]
        return SeedPage(seeds=tuple(shown), next_cursor=_cursor(shown[-1]) if len(found) > len(shown) else None)

    async def change(self, seed_id: str, change: SeedChange, *, version: int | None, by: str) -> Seed:
        """What an operator changes; made active again, the seed has a new trial: earlier judgements no longer count.

        Args:
            seed_id: the seed.
            change: what is named in it.
            version: that the operator has read; None for any.
            by: the operator.

        Raises:
            NotFound: there is no such seed.
            PreconditionFailed: it has another version.
            Conflict: it is removed, and the change is not to make it active.
        """
        values = change.values()

        def made(known: Seed) -> dict[str, Any]:
            if known.state == "removed" and change.state != "active":
                raise Conflict(f"The seed {seed_id} was removed; it can only be made active again.")
            return values | (_trial(known.stats) if change.state == "active" != known.state else {})

        return await self._change(seed_id, made, version=version, by=by)

    async def remove(self, seed_id: str, why: str, *, version: int | None, by: str) -> Seed:
        """Makes a seed a tombstone. Its vectors stay, so that it can be made active again.

        Raises:
            NotFound: there is no such seed.
            PreconditionFailed: it has another version.
            Conflict: it is removed already.
        """

        def made(known: Seed) -> dict[str, Any]:
            if known.state == "removed":
                raise Conflict(f"The seed {seed_id} is removed already.")
            return {"state": "removed", "removed_at": datetime.now(UTC), "removed_by": by, "removed_why": why}

        return await self._change(seed_id, made, version=version, by=by)

    async def quarantine(self, seed_id: str, why: str) -> Seed | None:
        """Takes an active seed out of the search until an operator lifts it; None where it is not active."""

        def made(known: Seed) -> dict[str, Any]:
            if known.state != "active":
                raise Conflict("It is not active.")
            return {"state": "quarantined", "quarantined_why": why}

        try:
            return await self._change(seed_id, made, version=None, by=WATCH)
        except (Conflict, NotFound):
            return None

    async def changes(self, since: int, limit: int | None) -> list[Row]:
        """Seeds that changed after a number, as they are now, in the order of their last change; None: all of them."""
        columns = [seeds.c[name] for name in Row.__dataclass_fields__]
        query = select(*columns).where(seeds.c.change > since).order_by(seeds.c.change).limit(limit)
        return [Row(**row) for row in await self._rows(query)]

    async def _insert(self, seed: Seed, vectors: Mapping[str, Vectors]) -> tuple[Seed, bool]:
        async def work(connection: AsyncConnection) -> tuple[Seed, bool]:
            await locked_bank(connection)
            known = await _find(connection, seed.id)
            if known is not None:
                return seed_of(known), False
            change = await next_change(connection)
            await connection.execute(insert(seeds).values(values_of(seed, change)))
            rows = [vector_row(seed.id, encoder, each) for encoder, each in vectors.items()]
            if rows:
                await connection.execute(insert(seed_vectors), rows)
            return await _get(connection, seed.id), True

        return await self._write(work)

    async def _change(
        self, seed_id: str, made: Callable[[Seed], dict[str, Any]], *, version: int | None, by: str
    ) -> Seed:
        async def work(connection: AsyncConnection) -> Seed:
            await locked_bank(connection)
            known = await _get(connection, seed_id)
            if version is not None and known.version != version:
                raise PreconditionFailed(f"The seed {seed_id} has version {known.version}, not {version}.")
            values = made(known) | {"version": known.version + 1, "updated_at": datetime.now(UTC), "updated_by": by}
            values["change"] = await next_change(connection)
            await connection.execute(update(seeds).where(seeds.c.id == seed_id).values(without_nul(values)))
            return await _get(connection, seed_id)

        return await self._write(work)


async def _find(connection: AsyncConnection, seed_id: str) -> RowMapping | None:
    # PostgreSQL refuses a parameter with a NUL, and an id may come from anybody.
    if SEED_ID.fullmatch(seed_id) is None:
        return None
    return (await connection.execute(select(seeds).where(seeds.c.id == seed_id))).mappings().one_or_none()


async def _get(connection: AsyncConnection, seed_id: str) -> Seed:
    found = await _find(connection, seed_id)
    if found is None:
        raise NotFound("There is no seed of this id.")
    return seed_of(found)


def _trial(stats: SeedStats) -> dict[str, Any]:
    cleared = dict.fromkeys(("quarantined_why", "removed_at", "removed_by", "removed_why"))
    return cleared | {f"{name}_before": getattr(stats, name) for name in ("hits", "confirmed", "refuted")}


def _cursor(seed: Seed) -> str:
    return base64.urlsafe_b64encode(f"{seed.created_at.isoformat()} {seed.id}".encode()).decode()


def _place_of(cursor: str) -> tuple[datetime, str]:
    try:
        at, _, seed_id = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition(" ")
        created_at = datetime.fromisoformat(at).astimezone(UTC)
    except (binascii.Error, ValueError, OverflowError):
        created_at, seed_id = None, ""
    if created_at is None or SEED_ID.fullmatch(seed_id) is None:
        problem = FieldProblem(pointer="cursor", detail="is not the `next_cursor` of a page")
        raise InvalidPayload("The cursor is not one that this list gave out.", errors=(problem,))
    return created_at, seed_id
