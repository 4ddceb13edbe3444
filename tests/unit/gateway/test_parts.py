"""The gateway's small parts: room, readiness, settings."""

import asyncio
from pathlib import Path

import pytest

from gateway.readiness import Readiness
from gateway.settings import Settings
from gateway.spool import room_needed
from services.database import StoreUnavailable, async_url
from services.errors import RouterUnavailable


@pytest.mark.parametrize(("header", "expected"), [("10", 10), ("5000", 100), (None, 100), ("-1", 100), ("x", 100)])
def test_room_is_what_is_declared_within_the_limit(header: str | None, expected: int) -> None:
    assert room_needed(header, max_body_bytes=100) == expected


async def test_readiness_names_what_is_missing_and_asks_again_only_after_a_while() -> None:
    asked: list[str] = []
    now = [0.0]

    async def database() -> None:
        asked.append("database")
        raise StoreUnavailable("OperationalError")

    async def router() -> None:
        raise RouterUnavailable("connection refused")

    async def slow() -> None:
        await asyncio.sleep(60)

    async def fine() -> None:
        return

    checks = {"database": database, "router": router, "slow": slow, "fine": fine}
    readiness = Readiness(checks, timeout_s=0.02, ttl_s=1.0, clock=lambda: now[0])
    expected = {"database": "OperationalError", "router": "connection refused", "slow": "no answer within 0.02 s"}
    assert await readiness.missing() == expected
    await asyncio.gather(readiness.missing(), readiness.missing())
    assert asked == ["database"]
    now[0] = 1.0
    await readiness.missing()
    assert asked == ["database", "database"]


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql+asyncpg"),
        ("sqlite:///x.db", "sqlite+aiosqlite"),
    ],
)
def test_database_urls_get_an_asynchronous_driver(url: str, driver: str) -> None:
    assert async_url(url).drivername == driver


def test_the_database_url_has_a_plain_alias_and_a_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).database == f"sqlite:///{tmp_path}/gateway/gateway.db"
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@h/d")
    settings = Settings()
    assert settings.database == "postgresql://u:secret@h/d"
    assert "secret" not in repr(settings)
    monkeypatch.setenv("WINNOW_GATEWAY_DATABASE_URL", "sqlite:///y.db")
    assert Settings().database == "sqlite:///y.db"
