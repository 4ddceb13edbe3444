"""Real servers, one of each for the whole run; a test that breaks one mends it."""

from collections.abc import Iterator

import pytest

from tests.servers import PostgresServer, RedisServer


@pytest.fixture(scope="session")
def postgres_process() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(postgres_process: PostgresServer) -> PostgresServer:
    """PostgreSQL without tables."""
    postgres_process.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return postgres_process


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """Redis without keys."""
    with redis_process.client() as client:
        client.flushall()
    return redis_process
