"""Decisions in SQL: the only module of the gateway that imports SQLAlchemy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, DateTime, String, event, insert, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from gateway.store import StoreUnavailable
from services.contracts import Decision, ModerationRequest

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
        sqlalchemy.exc.ArgumentError: not a database URL.
    """
    parsed = make_url(url)
    return parsed.set(drivername=ASYNC_DRIVERS.get(parsed.drivername, parsed.drivername))


class SqlStore:
    """A DecisionStore on SQLite or PostgreSQL.

    Every call takes at most `timeout_s` seconds, waiting for a connection of the pool included.
    """

    def __init__(self, url: str, *, pool_size: int, timeout_s: float) -> None:
        self._url = async_url(url)
        self._timeout_s = timeout_s
        self._opened = False
        self._opening = asyncio.Lock()
        self._engine = _engine(self._url, pool_size=pool_size, timeout_s=timeout_s)

    async def open(self) -> None:
        """Create the tables that are missing."""
        async with self._opening:
            if self._opened:
                return
            async with self._reaching():
                if self._url.get_backend_name() == "sqlite" and self._url.database not in (None, "", ":memory:"):
                    await asyncio.to_thread(Path(str(self._url.database)).parent.mkdir, parents=True, exist_ok=True)
                async with self._engine.begin() as connection:
                    await connection.run_sync(Base.metadata.create_all)
            self._opened = True

    async def add(self, decision: Decision, request: ModerationRequest) -> None:
        """Insert a decision and commit."""
        await self.open()
        row = {
            "id": decision.id,
            "created_at": decision.created_at,
            "verdict": decision.verdict,
            "route": decision.route,
            "sha256": decision.sha256,
            "policy_hash": decision.policy_hash,
            "request": request.model_dump(mode="json"),
            "body": decision.model_dump(mode="json"),
        }
        async with self._reaching(), self._engine.begin() as connection:
            await connection.execute(insert(DecisionRow).values(row))

    async def get(self, decision_id: str) -> Decision | None:
        """The decision of that id, or None."""
        await self.open()
        async with self._reaching(), self._engine.connect() as connection:
            body = await connection.scalar(select(DecisionRow.body).where(DecisionRow.id == decision_id))
        return None if body is None else Decision.model_validate(body)

    async def check(self) -> None:
        """Ask the database for a constant."""
        await self.open()
        async with self._reaching(), self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _reaching(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {self._timeout_s:g} s") from error
        except (InterfaceError, OperationalError, PoolTimeoutError, OSError) as error:
            # The text of a driver's error may quote the URL, and with it a password. Other errors of SQL are faults of
            # ours, which no retry mends.
            raise StoreUnavailable(type(error).__name__) from error


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
