"""Decisions in SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, String, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.contracts import Decision, ModerationRequest
from services.database import Database, without_nul


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


class SqlStore:
    """A DecisionStore on SQLite or PostgreSQL; every call takes at most `timeout_s` seconds.

    Raises:
        StoreUrlError: the URL cannot be used.
    """

    def __init__(self, url: str, *, pool_size: int, timeout_s: float) -> None:
        self._database = Database(url, Base.metadata, pool_size=pool_size, timeout_s=timeout_s)

    async def open(self) -> None:
        """Create the tables that are missing; callers at one time share the attempt and its failure."""
        await self._database.open()

    async def add(self, decision: Decision, request: ModerationRequest) -> None:
        """Insert a decision and commit."""
        row = row_of(decision, request)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(DecisionRow).values(row))

        await self._database.write(work)

    async def get(self, decision_id: str) -> Decision | None:
        """The decision of that id, or None."""
        statement = select(DecisionRow.body).where(DecisionRow.id == decision_id)
        body = await self._database.read(lambda connection: connection.scalar(statement))
        return None if body is None else Decision.model_validate(body)

    async def check(self) -> None:
        """Ask the database for a constant."""
        await self._database.check()

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()


def row_of(decision: Decision, request: ModerationRequest) -> dict[str, Any]:
    """The columns of a decision."""
    return {
        "id": decision.id,
        "created_at": decision.created_at,
        "verdict": decision.verdict,
        "route": decision.route,
        "sha256": decision.sha256,
        "policy_hash": decision.policy_hash,
        "request": without_nul(request.model_dump(mode="json")),
        "body": without_nul(decision.model_dump(mode="json")),
    }
