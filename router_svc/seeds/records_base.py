"""How the seed records are reached, and how those who write take turns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Insert, RowMapping, Select, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from router_svc.seeds.tables import seed_bank
from services.database import Database, StoreUnavailable, Work
from services.errors import NotReady

T = TypeVar("T")

BATCH = 500
"""Ids in one statement: a database allows only so many parameters."""


class RecordsBase:
    """The seed records in SQL: seeds, their vectors under each encoder, and the one row of the bank.

    Every change of a seed takes the next number of a sequence and keeps it. The number comes from the bank's only row,
    which the writer locks first and raises in the same transaction: so writers take turns, numbers are committed in
    their order, and a poller that has seen change n never misses a smaller one that was committed later. A sequence of
    the database would not do: it gives numbers out before the commit, and two writers may commit in the other order.

    Every method opens the database where that has not been done, and raises NotReady where it cannot be reached.

    Args:
        database: with the tables of router_svc.seeds.tables; closed with this.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._opened = False

    async def open(self) -> None:
        """Creates the tables and the bank's row where they are missing."""
        if self._opened:
            return
        row = new_rows(self._database, seed_bank).values(id=1, change=0).on_conflict_do_nothing()
        with _reached():
            await self._database.write(lambda connection: connection.execute(row))
        self._opened = True

    async def close(self) -> None:
        """Closes the database."""
        await self._database.close()

    async def check(self) -> None:
        """Asks the database for a constant."""
        await self.open()
        with _reached():
            await self._database.check()

    async def _read(self, work: Work[T]) -> T:
        await self.open()
        with _reached():
            return await self._database.read(work)

    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        async def work(connection: AsyncConnection) -> Sequence[RowMapping]:
            rows: Sequence[RowMapping] = (await connection.execute(query)).mappings().all()
            return rows

        return await self._read(work)

    async def _write(self, work: Work[T]) -> T:
        await self.open()
        with _reached():
            return await self._database.write(work)


async def locked_bank(connection: AsyncConnection) -> RowMapping:
    """The bank's row, which nobody else writes until this transaction ends; the first thing that a writer does."""
    # SQLite has one writer at a time and knows no FOR UPDATE: SQLAlchemy leaves it out there.
    found = await connection.execute(select(seed_bank).where(seed_bank.c.id == 1).with_for_update())
    return found.mappings().one()


async def next_change(connection: AsyncConnection) -> int:
    """The number of the change that this transaction makes; the bank is locked."""
    raised = update(seed_bank).where(seed_bank.c.id == 1).values(change=seed_bank.c.change + 1)
    return int((await connection.execute(raised.returning(seed_bank.c.change))).scalar_one())


def new_rows(database: Database, table: Table) -> Any:
    """An INSERT that can say what happens to a row that is there: both databases can, each with its own class."""
    inserts: dict[str, type[Insert]] = {"sqlite": sqlite.Insert, "postgresql": postgresql.Insert}
    return inserts[database.backend](table)


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise NotReady(f"The seed records cannot be reached: {error}.") from error
