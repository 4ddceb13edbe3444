"""The seed records as several replicas have them, in SQLite and in PostgreSQL, and seeds to record."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router_svc.bank.protocol import Vectors
from router_svc.seeds.records import SeedRecords
from router_svc.seeds.tables import metadata
from services.contracts import Seed
from services.database import Database
from tests.servers import PostgresServer

START = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)
OLD, NEW = "0" * 16, "1" * 16
STRANGE = "a\x00b \\u0000 ' \" %s :name ; -- \u2028\U0001f525"
KEPT = STRANGE.replace("\x00", "\ufffd")

Open = Callable[[], SeedRecords]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/router.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url


@pytest.fixture
async def replica(url: str) -> AsyncIterator[Open]:
    """Gives the records as one more replica has them."""
    async with AsyncExitStack() as stack:

        def opened() -> SeedRecords:
            records = SeedRecords(Database(url, metadata, pool_size=4, timeout_s=20.0))
            stack.push_async_callback(records.close)
            return records

        yield opened


@pytest.fixture
def records(replica: Open) -> SeedRecords:
    return replica()


def seed(number: int, **values: Any) -> Seed:
    known: dict[str, Any] = {
        "id": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "version": 1,
        "issue": "arson",
        "kind": "golden",
        "state": "active",
        "share": 0.1,
        "start_s": 0.1,
        "end_s": 2.7,
        "sha256": "a" * 64,
        "vectors": 2,
        "created_at": START + timedelta(seconds=number),
        "created_by": "key_1",
        "updated_at": START + timedelta(seconds=number),
        "updated_by": "key_1",
    }
    return Seed(**known | values)


def vectors(number: int) -> Vectors:
    return np.random.default_rng(number).standard_normal((2, 8)).astype(np.float32)


async def add(records: SeedRecords, *numbers: int, **values: Any) -> list[Seed]:
    return [(await records.add(seed(each, **values), {OLD: vectors(each)}))[0] for each in numbers]


async def open_all(replica: Open, count: int) -> list[SeedRecords]:
    """So many replicas that are open: those that open meanwhile would not meet."""
    several = [replica() for _ in range(count)]
    for each in several:
        await each.open()
    return several
