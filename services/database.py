"""SQL databases: how one is reached, in which time, and what a caller is told where it is not there."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import MetaData, event, func, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

T = TypeVar("T")

Work = Callable[[AsyncConnection], Awaitable[T]]
"""What is done with a connection. It does SQL alone: its OSErrors count as errors of the database."""

LOCK = 0x77696E6E6F77
"""Names the advisory lock of PostgreSQL under which tables are created."""

ASYNC_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "sqlite": "sqlite+aiosqlite"}
_IN_MEMORY = (None, "", ":memory:")


class StoreUnavailable(Exception):
    """The database cannot be reached or did not answer in time; the message says which and is safe to log."""


class StoreUrlError(ValueError):
    """The URL of the database cannot be used; the message says why, without the URL, which may hold a password."""


class Database:
    """A SQLite or PostgreSQL database with the tables of one service.

    Every call takes at most `timeout_s` seconds, waiting for a connection of the pool included. A driver may need
    longer to give up a server that does not answer: it is left to that, and holds its connection of the pool meanwhile.

    Args:
        url: e.g. `sqlite:///directory/name.db` or `postgresql://user:password@host/name`.
        metadata: the tables.
        pool_size: most connections at a time.
        timeout_s: seconds for each call.

    Raises:
        StoreUrlError: the URL cannot be used.
    """

    def __init__(self, url: str, metadata: MetaData, *, pool_size: int, timeout_s: float) -> None:
        self._url = async_url(url)
        self._metadata = metadata
        self._timeout_s = timeout_s
        self._opened = False
        self._opening: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        try:
            self._engine = _engine(self._url, pool_size=pool_size, timeout_s=timeout_s)
        except (ArgumentError, InvalidRequestError, ModuleNotFoundError) as error:
            drivers = ", ".join(sorted(set(ASYNC_DRIVERS.values())))
            name = self._url.drivername
            raise StoreUrlError(f"DATABASE_URL names `{name}`, which cannot be used; use one of {drivers}.") from error

    @property
    def backend(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._url.get_backend_name()

    async def open(self) -> None:
        """Creates the tables that are missing; callers at one time share the attempt and its failure.

        Raises:
            StoreUnavailable: the database cannot be reached now; called again it tries again.
        """
        if self._opened:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._reach(self._create()))
            self._opening.add_done_callback(self._ended)
        await asyncio.wait([self._opening])
        self._opening.result()
        self._opened = True

    async def read(self, work: Work[T]) -> T:
        """What `work` finds. Each of its statements sees what is committed when it starts; what it writes is undone.

        Raises:
            StoreUnavailable: the database cannot be reached, or does not answer in time.
        """
        await self.open()
        return await self._reach(self._read(work))

    async def write(self, work: Work[T]) -> T:
        """Does `work` in one transaction, and commits; an error undoes it, and is raised.

        SQLite has one writer at a time, who is alone from the start: what `work` reads stays so until it commits. In
        PostgreSQL others may write meanwhile: `work` locks the rows that it decides by.

        Raises:
            StoreUnavailable: the database cannot be reached, or does not answer in time. The work may be done all the
                same, where the answer to the commit is what was lost.
        """
        await self.open()
        return await self._reach(self._write(work))

    async def check(self) -> None:
        """Asks the database for a constant.

        Raises:
            StoreUnavailable: the database cannot be reached, or does not answer in time.
        """
        await self.read(lambda connection: connection.execute(select(1)))

    async def close(self) -> None:
        """Closes the pool; calls that were given up get `timeout_s` seconds to end."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._timeout_s)
        await self._engine.dispose()

    async def _read(self, work: Work[T]) -> T:
        async with self._engine.connect() as connection:
            return await work(connection)

    async def _write(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            if self.backend == "sqlite":
                # Begun by a read, a transaction fails at once where another one has written since.
                await connection.execute(text("BEGIN IMMEDIATE"))
            return await work(connection)

    async def _create(self) -> None:
        if self.backend == "sqlite" and self._url.database not in _IN_MEMORY:
            await asyncio.to_thread(Path(str(self._url.database)).parent.mkdir, parents=True, exist_ok=True)
        await self._write(self._create_tables)

    async def _create_tables(self, connection: AsyncConnection) -> None:
        # Processes that start together would each find no table and create it.
        if self.backend != "sqlite":
            await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
        await connection.run_sync(self._metadata.create_all)

    async def _reach(self, work: Coroutine[Any, Any, T]) -> T:
        call = asyncio.create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait([call], timeout=self._timeout_s)
        except asyncio.CancelledError:
            call.cancel()
            raise
        if not done:
            call.cancel()
            raise StoreUnavailable(f"no answer within {self._timeout_s:g} s")
        try:
            return call.result()
        except (InterfaceError, OperationalError, PoolTimeoutError, OSError) as error:
            # The text of a driver's error may quote the URL, and with it a password. Other errors of SQL are faults of
            # ours, which no retry mends.
            raise StoreUnavailable(type(error).__name__) from error

    def _ended(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # one that was given up has nobody else to look at it


def async_url(url: str) -> URL:
    """The URL with the asynchronous driver of its database, where it names none.

    Raises:
        StoreUrlError: not the URL of a database.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Its text may quote a part of the URL.
        why = "it must look like postgresql://user:password@host/name"
        raise StoreUrlError(f"DATABASE_URL cannot be read: {why}.") from None
    return parsed.set(drivername=ASYNC_DRIVERS.get(parsed.drivername, parsed.drivername))


def in_utc(value: datetime) -> datetime:
    """A time out of a database, aware and in UTC: SQLite forgets the zone, PostgreSQL answers in the session's."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def without_nul(value: Any) -> Any:
    """U+FFFD for every NUL in text, and in that of dicts and lists, at any depth.

    PostgreSQL refuses one in text; it keeps one in JSON, and then fails in every query that looks into the row.
    """
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case dict():
            return {without_nul(key): without_nul(each) for key, each in value.items()}
        case list():
            return [without_nul(each) for each in value]
        case _:
            return value


def _engine(url: URL, *, pool_size: int, timeout_s: float) -> AsyncEngine:
    sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": timeout_s}
    if sqlite:
        options |= {"connect_args": {"timeout": timeout_s}, "poolclass": AsyncAdaptedQueuePool}
        if url.database in _IN_MEMORY:
            # The database is the connection's own.
            options["pool_size"] = 1
    else:
        options |= {"pool_pre_ping": True, "pool_recycle": 1800}
        options["connect_args"] = {"connect_timeout": max(1, round(timeout_s))}
    engine = create_async_engine(url, **options)
    if sqlite:
        event.listen(engine.sync_engine, "connect", _durable)
    return engine


def _durable(connection: Any, _record: Any) -> None:
    """Let readers and the writer of a SQLite file work side by side; a commit stays on disk when the power goes."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
