"""Databases of a service on SQLite: transactions, callers who give up, and what a file that cannot be used is told as.

PostgreSQL is tested through the gateway's and the router's records.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, DateTime, Integer, MetaData, Table, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.database import Database, StoreUnavailable, in_utc, without_nul

METADATA = MetaData()
NUMBERS = Table(
    "numbers",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("value", Integer, nullable=False),
    Column("at", DateTime(timezone=True)),
)
TIMEOUT_S = 0.5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "numbers.db"


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite:///{file}", METADATA, pool_size=4, timeout_s=TIMEOUT_S)
    yield made
    await made.close()


async def add(connection: AsyncConnection, number: int = 1, value: int = 0) -> None:
    await connection.execute(insert(NUMBERS).values(id=number, value=value))


async def count(connection: AsyncConnection) -> int:
    return await connection.scalar(select(func.count()).select_from(NUMBERS)) or 0


async def add_one(connection: AsyncConnection) -> int:
    value = await connection.scalar(select(NUMBERS.c.value)) or 0
    # A writer who were not alone would find the same value here.
    await asyncio.sleep(0.002)
    await connection.execute(update(NUMBERS).values(value=value + 1))
    return value + 1


async def test_what_is_written_is_read_also_by_another_process(database: Database, file: Path) -> None:
    await database.write(add)
    assert await database.read(count) == 1
    assert database.backend == "sqlite"
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT count(*) FROM numbers").fetchone() == (1,)


async def test_a_failing_write_leaves_nothing_behind_and_its_error_is_told(database: Database) -> None:
    async def fail(connection: AsyncConnection) -> None:
        await add(connection)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.write(fail)
    assert await database.read(count) == 0
    await database.write(add)
    with pytest.raises(IntegrityError):
        await database.write(add)


async def test_a_read_writes_nothing(database: Database) -> None:
    await database.read(add)
    assert await database.read(count) == 0


async def test_writers_take_turns(file: Path, database: Database) -> None:
    other = Database(f"sqlite:///{file}", METADATA, pool_size=4, timeout_s=30.0)
    patient = Database(f"sqlite:///{file}", METADATA, pool_size=4, timeout_s=30.0)
    await database.write(add)
    seen = await asyncio.gather(*(each.write(add_one) for each in (other, patient) for _ in range(15)))
    assert sorted(seen) == list(range(1, 31))
    await other.close()
    await patient.close()


async def test_a_database_in_memory_serves_callers_at_one_time() -> None:
    database = Database("sqlite://", METADATA, pool_size=4, timeout_s=30.0)
    await database.write(add)
    seen = await asyncio.gather(*(database.write(add_one) for _ in range(10)))
    assert sorted(seen) == list(range(1, 11))
    await database.close()


async def test_a_locked_file_costs_a_bounded_time_and_is_used_again(database: Database, file: Path) -> None:
    await database.open()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    results = await asyncio.gather(*(database.write(add) for _ in range(8)), return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) for each in results)
    assert time.monotonic() - started < TIMEOUT_S + 5
    # Readers are not kept waiting by a writer.
    assert await database.read(count) == 0
    other.execute("ROLLBACK")
    other.close()
    await asyncio.sleep(TIMEOUT_S)
    await database.write(add)
    assert await database.read(count) == 1


async def test_a_reader_does_not_keep_a_writer_waiting(database: Database, file: Path) -> None:
    await database.write(add)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM numbers").fetchone() == (1,)
    await database.write(lambda connection: add(connection, 2))
    assert await database.read(count) == 2
    reader.close()


async def test_work_that_takes_too_long_is_undone(database: Database) -> None:
    async def slow(connection: AsyncConnection) -> None:
        await add(connection)
        await asyncio.sleep(30)

    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.5 s"):
        await database.write(slow)
    await database.write(add)
    assert await database.read(count) == 1


async def test_a_caller_who_is_cancelled_changes_nothing(database: Database) -> None:
    inside = asyncio.Event()

    async def slow(connection: AsyncConnection) -> None:
        await add(connection)
        inside.set()
        await asyncio.sleep(30)

    await database.open()
    call = asyncio.create_task(database.write(slow))
    await inside.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await database.write(add)
    assert await database.read(count) == 1


async def test_a_file_that_cannot_be_made_is_unavailable_until_it_can(database: Database, file: Path) -> None:
    file.parent.write_text("a file where the directory belongs")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await database.check()
    file.parent.unlink()
    await database.check()
    await database.write(add)


async def test_a_file_that_is_no_database_is_told_as_a_fault(database: Database, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"not a database" * 400)
    with pytest.raises(Exception, match="not a database") as caught:
        await database.check()
    assert not isinstance(caught.value, StoreUnavailable)


async def test_times_come_back_in_utc(database: Database) -> None:
    at = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)

    async def write(connection: AsyncConnection) -> None:
        await connection.execute(insert(NUMBERS).values(id=1, value=1, at=at))

    await database.write(write)
    found = await database.read(lambda connection: connection.scalar(select(NUMBERS.c.at)))
    assert found is not None
    assert in_utc(found) == at
    assert in_utc(at.astimezone(timezone(timedelta(hours=5)))).utcoffset() == timedelta(0)


def test_nuls_are_replaced_at_any_depth() -> None:
    assert without_nul({"a\0": ["\0", {"b": "c\0d", "n": 1}], "none": None}) == {
        "a\ufffd": ["\ufffd", {"b": "c\ufffdd", "n": 1}],
        "none": None,
    }
