"""The tables of the seed records, and a seed as a row of them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    TypeDecorator,
)

from services.contracts import Seed, SeedRemoval, SeedStats
from services.database import in_utc, without_nul

_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC, aware on both sides: SQLite drops the zone of what it is given.

    The first and the last day that Python knows are cut off: in another zone they would be outside of its calendar, and
    PostgreSQL answers in the zone of the session.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The time as it is kept; it is aware."""
        return None if value is None else min(max(value, _FIRST), _LAST).astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The time as it was kept."""
        return None if value is None else in_utc(value)


metadata = MetaData()

seeds = Table(
    "seeds",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("issue", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("share", Double, nullable=False),
    Column("expires_at", UtcTime),
    Column("text", Text),
    Column("start_s", Double, nullable=False),
    Column("end_s", Double, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("vectors", Integer, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("updated_by", Text, nullable=False),
    Column("quarantined_why", Text),
    Column("removed_at", UtcTime),
    Column("removed_by", Text),
    Column("removed_why", Text),
    Column("hits", BigInteger, nullable=False),
    Column("confirmed", BigInteger, nullable=False),
    Column("refuted", BigInteger, nullable=False),
    Column("last_hit_at", UtcTime),
    # What the three counts were when the present trial of the seed began.
    Column("hits_before", BigInteger, nullable=False),
    Column("confirmed_before", BigInteger, nullable=False),
    Column("refuted_before", BigInteger, nullable=False),
    Column("change", BigInteger, nullable=False, index=True),
    Index("seeds_newest", "created_at", "id"),
)

seed_vectors = Table(
    "seed_vectors",
    metadata,
    Column("seed_id", String(32), primary_key=True),
    Column("encoder", String(16), primary_key=True),
    Column("dim", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),  # float32, little-endian, row by row
)

seed_bank = Table(
    "seed_bank",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("change", BigInteger, nullable=False),
    Column("live", String(16)),
    Column("live_spec", JSON(none_as_null=True)),
    Column("previous", String(16)),
    Column("previous_spec", JSON(none_as_null=True)),
    Column("reindex", JSON(none_as_null=True)),
    Column("reindex_spec", JSON(none_as_null=True)),
    Column("run", String(32)),
    Column("beat_at", UtcTime),
)


def values_of(seed: Seed, change: int) -> dict[str, Any]:
    """The columns of a seed whose trial begins: what was counted before is not held against it."""
    flat = seed.model_dump(exclude={"removed", "stats"})
    removed = {} if seed.removed is None else {f"removed_{name}": value for name, value in seed.removed}
    counts = seed.stats.model_dump()
    before = {f"{name}_before": counts[name] for name in ("hits", "confirmed", "refuted")}
    values: dict[str, Any] = without_nul(flat | removed | counts | before)
    return values | {"change": change}


def seed_of(row: RowMapping) -> Seed:
    """The seed of a row, with all that was ever counted of it."""
    flat = dict(row)
    removed = None
    if row["removed_at"] is not None:
        removed = SeedRemoval(at=row["removed_at"], by=row["removed_by"], why=row["removed_why"])
    stats = SeedStats.model_validate(flat)
    return Seed.model_validate({**flat, "removed": removed, "stats": stats})
