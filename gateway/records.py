"""Decisions in SQL: the only module of the gateway that imports SQLAlchemy."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import JSON, DateTime, Select, String, event, func, insert, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from gateway.store import StoreUnavailable, StoreUrlError
from services.contracts import Decision, ModerationRequest

T = TypeVar("T")

LOCK = 0x77696E6E6F77
"""Names the advisory lock of PostgreSQL under which tables are created."""

ASYNC_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "sqlite": "sqlite+aiosqlite"}


class Base(DeclarativeBase):
    """The tables of the gateway."""


class DecisionRow(Base):
    """One decision: what is searched for in columns, the whole in `body`, and what the client asked in `request`."""

    __tablename__ = "decisions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    verdict: Mapped[str] = mapped_column(String(16), index=True)
    route: Mapped[str] = mapped_column(String(16), index=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    policy_hash: Mapped[str] = mapped_column(String(64), index=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


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


class SqlStore:
    """A DecisionStore on SQLite or PostgreSQL.

    Every call takes at most `timeout_s` seconds, waiting for a connection of the pool included. A driver may need
    longer to give up a server that does not answer: it is left to that, and holds its connection of the pool meanwhile.

    Raises:
        StoreUrlError: the URL cannot be used.
    """

    def __init__(self, url: str, *, pool_size: int, timeout_s: float) -> None:
        self._url = async_url(url)
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

    async def open(self) -> None:
        """Create the tables that are missing; callers at one time share the attempt and its failure."""
        if self._opened:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._reach(self._create()))
            self._opening.add_done_callback(self._ended)
        await asyncio.wait([self._opening])
        self._opening.result()
        self._opened = True

    async def add(self, decision: Decision, request: ModerationRequest) -> None:
        """Insert a decision and commit."""
        await self.open()
        await self._reach(self._insert(row_of(decision, request)))

    async def get(self, decision_id: str) -> Decision | None:
        """The decision of that id, or None."""
        await self.open()
        body = await self._reach(self._scalar(select(DecisionRow.body).where(DecisionRow.id == decision_id)))
        return None if body is None else Decision.model_validate(body)

    async def check(self) -> None:
        """Ask the database for a constant."""
        await self.open()
        await self._reach(self._scalar(select(1)))

    async def close(self) -> None:
        """Close the pool; calls that were given up get `timeout_s` seconds to end."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._timeout_s)
        await self._engine.dispose()

    async def _create(self) -> None:
        sqlite = self._url.get_backend_name() == "sqlite"
        if sqlite and self._url.database not in (None, "", ":memory:"):
            await asyncio.to_thread(Path(str(self._url.database)).parent.mkdir, parents=True, exist_ok=True)
        async with self._engine.begin() as connection:
            # Gateways that start together would each find no table and create it.
            await connection.execute(text("BEGIN IMMEDIATE") if sqlite else select(func.pg_advisory_xact_lock(LOCK)))
            await connection.run_sync(Base.metadata.create_all)

    async def _insert(self, row: dict[str, Any]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(insert(DecisionRow).values(row))

    async def _scalar(self, statement: Select[Any]) -> Any:
        async with self._engine.connect() as connection:
            return await connection.scalar(statement)

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


def row_of(decision: Decision, request: ModerationRequest) -> dict[str, Any]:
    """The columns of a decision."""
    return {
        "id": decision.id,
        "created_at": decision.created_at,
        "verdict": decision.verdict,
        "route": decision.route,
        "sha256": decision.sha256,
        "policy_hash": decision.policy_hash,
        "request": _without_nul(request.model_dump(mode="json")),
        "body": _without_nul(decision.model_dump(mode="json")),
    }


def _without_nul(value: Any) -> Any:
    """U+FFFD for every NUL: PostgreSQL keeps one in JSON, and then fails in every query that looks into the row."""
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case dict():
            return {_without_nul(key): _without_nul(each) for key, each in value.items()}
        case list():
            return [_without_nul(each) for each in value]
        case _:
            return value


def _engine(url: URL, *, pool_size: int, timeout_s: float) -> AsyncEngine:
    options: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": timeout_s}
    else:
        options |= {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": timeout_s, "pool_pre_ping": True}
        options |= {"pool_recycle": 1800, "connect_args": {"connect_timeout": max(1, round(timeout_s))}}
    engine = create_async_engine(url, **options)
    if url.get_backend_name() == "sqlite":
        event.listen(engine.sync_engine, "connect", _durable)
    return engine


def _durable(connection: Any, _record: Any) -> None:
    """Let readers and the writer of a SQLite file work side by side; a commit stays on disk when the power goes."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
