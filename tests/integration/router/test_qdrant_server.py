"""The index on a server over HTTP: every promise, and what happens when the server is slow, refuses, or is gone.

By default the server is the stand-in of qdrant_server.py. Where QDRANT_URL is set (and QDRANT_API_KEY, if it needs
one), the promises are also asked of that server, over HTTP, and over gRPC where QDRANT_GRPC_PORT is set too. Take a
server for tests: they move the alias of the live encoder.
"""

import asyncio
import os
import time
from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import SecretStr
from qdrant_client import QdrantClient

from router_svc.bank import Entry, Group
from router_svc.bank.qdrant import ALIAS, QdrantIndex
from services.deadline import Deadline
from services.errors import DeadlineExceeded, NotReady
from tests.integration.router.qdrant_server import QdrantServer
from tests.unit.router.index_promises import ARSON, DIM, Make, StoredPromises, new_encoder, sid, unit

# Settings of other tests are not to come from outside, so that they are gone while tests run.
REAL_URL = os.environ.get("QDRANT_URL")
REAL_KEY = os.environ.get("QDRANT_API_KEY")
REAL_GRPC_PORT = os.environ.get("QDRANT_GRPC_PORT")

ENCODER = "0123456789abcdef"
MANY = [Group(f"issue_{number}", False) for number in range(400)]
QUERY_BATCH = "/points/query/batch"


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with QdrantServer() as server:
        yield server


class TestOverHttp(StoredPromises):
    @pytest.fixture
    def make(self, server: QdrantServer) -> Make:
        return lambda encoder: QdrantIndex(server.url, encoder, DIM)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")
@pytest.mark.skipif(REAL_URL is None, reason="QDRANT_URL is not set: there is no Qdrant server to ask")
class TestRealServer(StoredPromises):
    @pytest.fixture(params=["http", "grpc"])
    def make(self, request: pytest.FixtureRequest) -> Iterator[Make]:
        assert REAL_URL is not None
        if request.param == "grpc" and REAL_GRPC_PORT is None:
            pytest.skip("QDRANT_GRPC_PORT is not set")
        port = int(REAL_GRPC_PORT) if request.param == "grpc" and REAL_GRPC_PORT else None
        key = SecretStr(REAL_KEY) if REAL_KEY else None
        made = []

        def make(encoder: str) -> QdrantIndex:
            made.append(QdrantIndex(REAL_URL, encoder, DIM, api_key=key, grpc_port=port))
            return made[-1]

        yield make
        client = QdrantClient(url=REAL_URL, api_key=REAL_KEY, check_compatibility=False)
        for name in {index._collection for index in made}:
            if client.collection_exists(name):
                client.delete_collection(name)
        client.close()

    async def test_the_collection_is_as_we_want_it(self, make: Make) -> None:
        index = make(new_encoder())
        assert isinstance(index, QdrantIndex)
        await index.open()
        client = QdrantClient(url=REAL_URL, api_key=REAL_KEY, check_compatibility=False)
        found = client.get_collection(index._collection)
        assert (found.config.hnsw_config.m, found.config.hnsw_config.payload_m) == (0, 16)
        assert found.payload_schema.keys() == {"group", "seed_id"}
        assert getattr(found.payload_schema["group"].params, "is_tenant", None) is True
        client.close()
        await index.close()


async def test_the_collection_is_made_for_searches_of_one_group(server: QdrantServer) -> None:
    index = QdrantIndex(server.url, ENCODER, DIM, replicas=2, shards=3)
    await index.open()
    name = f"winnow_seeds_{ENCODER}"
    made = server.made[name]
    assert made["vectors"] == {"size": DIM, "distance": "Cosine"}
    assert made["hnsw_config"] == {"m": 0, "payload_m": 16}
    assert (made["replication_factor"], made["shard_number"]) == (2, 3)
    assert server.indexes[name, "group"]["is_tenant"] is True
    assert server.indexes[name, "seed_id"]["type"] == "keyword"
    await index.close()


async def test_replicas_that_open_together_make_one_collection(server: QdrantServer) -> None:
    replicas = [QdrantIndex(server.url, ENCODER, DIM) for _ in range(4)]
    await asyncio.gather(*(replica.open() for replica in replicas))
    await replicas[0].put([Entry(sid(1), ARSON, unit(2))])
    for replica in replicas:
        assert await replica.seed_ids() == {sid(1)}
        await replica.close()
    assert len(server.made) == 1


async def test_the_alias_is_moved_in_one_request(server: QdrantServer) -> None:
    for encoder in ("a" * 16, "b" * 16):
        index = QdrantIndex(server.url, encoder, DIM)
        await index.open()
        server.asked.clear()
        await index.make_live()
        assert [path for method, path, _ in server.asked if method == "POST"] == ["/collections/aliases"]
        (alias,) = server.client.get_aliases().aliases
        assert (alias.alias_name, alias.collection_name) == (ALIAS, f"winnow_seeds_{encoder}")
        await index.make_live()  # it is so: nothing to ask for
        await index.close()
    names = [[name for operation in operations for name in operation] for operations in server.aliased]
    assert names == [["create_alias"], ["delete_alias", "create_alias"]]


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")
async def test_the_servers_api_key_is_needed_and_sent() -> None:
    with QdrantServer(api_key="k3y") as server:
        for key, ready in ((None, False), ("wrong", False), ("k3y", True)):
            index = QdrantIndex(server.url, ENCODER, DIM, api_key=SecretStr(key) if key else None)
            if ready:
                await index.open()
                assert await index.seed_ids() == frozenset()
            else:
                with pytest.raises(NotReady):
                    await index.open()
            await index.close()


async def test_a_server_in_trouble_is_not_ready_until_it_is_well(server: QdrantServer) -> None:
    index = QdrantIndex(server.url, ENCODER, DIM)
    server.failing = 503
    with pytest.raises(NotReady):
        await index.open()
    server.failing = None
    await index.open()
    await index.put([Entry(sid(1), ARSON, unit(1))])
    for status in (500, 503, 429):
        server.failing = status
        for call in (lambda: index.search(unit(1), [ARSON], 1), index.seed_ids, index.ping, index.make_live):
            with pytest.raises(NotReady):
                await call()
        with pytest.raises(NotReady):
            await index.put([Entry(sid(2), ARSON, unit(1))])
    server.failing = None
    assert await index.seed_ids() == {sid(1)}
    await index.close()


async def test_a_server_that_is_gone_is_not_ready() -> None:
    with QdrantServer() as server:
        index = QdrantIndex(server.url, ENCODER, DIM, timeout_s=1)
        await index.open()
    with pytest.raises(NotReady):
        await index.search(unit(1), [ARSON], 1)
    other = QdrantIndex(server.url, ENCODER, DIM, timeout_s=1)
    with pytest.raises(NotReady):
        await other.open()
    with QdrantServer(port=server.port):
        await other.open()  # it is tried again
        with pytest.raises(NotReady):
            # The new server has nothing of the old one's collection but what `open` has made again.
            await QdrantIndex(server.url, "f" * 16, DIM).seed_ids()
        await index.open()
        assert await index.seed_ids() == frozenset()
        await other.close()
        await index.close()


async def test_a_server_that_has_lost_the_collection_is_not_ready_until_it_is_opened_again(
    server: QdrantServer,
) -> None:
    index = QdrantIndex(server.url, ENCODER, DIM)
    await index.open()
    await index.put([Entry(sid(1), ARSON, unit(1))])
    server.client.delete_collection(f"winnow_seeds_{ENCODER}")
    for call in (lambda: index.search(unit(1), [ARSON], 1), index.ping):
        with pytest.raises(NotReady):
            await call()
    await index.open()
    await index.ping()
    assert await index.seed_ids() == frozenset()
    await index.close()


async def test_grpc_where_nobody_listens_is_not_ready(server: QdrantServer) -> None:
    index = QdrantIndex(server.url, ENCODER, DIM, timeout_s=1, grpc_port=9)
    with pytest.raises(NotReady):
        await index.open()
    await index.close()


async def test_a_slow_server_is_not_waited_for_beyond_the_time_out(server: QdrantServer) -> None:
    index = QdrantIndex(server.url, ENCODER, DIM, timeout_s=1)
    await index.open()
    server.delay_s = 30.0
    started = time.monotonic()
    with pytest.raises(NotReady):
        await index.search(unit(1), [ARSON], 1)
    assert 0.9 < time.monotonic() - started < 15
    server.delay_s = 0.0
    await index.close()


async def test_the_server_is_told_how_long_it_may_take(server: QdrantServer) -> None:
    index = QdrantIndex(server.url, ENCODER, DIM, timeout_s=5)
    await index.open()
    for deadline, told in ((None, "5"), (Deadline.after(2.5), "3"), (Deadline.after(60.0), "5")):
        await index.search(unit(1), [ARSON], 1, deadline=deadline)
        assert server.asked[-1][2]["timeout"] == [told]
    await index.close()


async def test_a_search_whose_caller_left_ends_with_its_call(server: QdrantServer) -> None:
    index = QdrantIndex(server.url, ENCODER, DIM)
    await index.open()
    server.delay_s = 0.2
    deadline = Deadline.after(0.3)
    with pytest.raises(DeadlineExceeded):
        async with deadline.limit():
            await index.search(unit(8), MANY, 4, deadline=deadline)
    await asyncio.sleep(0.6)
    assert 1 <= searches(server) <= 2  # of 25
    server.delay_s = 0.0
    assert set(await index.search(unit(8), MANY, 4)) == set(MANY)
    await index.close()


async def test_many_who_left_hold_two_threads_and_wait_for_no_one(server: QdrantServer) -> None:
    index = QdrantIndex(server.url, ENCODER, DIM, threads=2)
    await index.open()
    server.delay_s = 0.2

    async def leave() -> None:
        deadline = Deadline.after(0.05)
        with pytest.raises(DeadlineExceeded):
            async with deadline.limit():
                await index.search(unit(1), MANY, 4, deadline=deadline)

    await asyncio.gather(*(leave() for _ in range(40)))
    found = await index.search(np.eye(1, DIM, dtype=np.float32), [ARSON], 4, deadline=Deadline.after(20))
    assert list(found[ARSON][0]) == []
    assert searches(server) <= 3
    await index.close()


def searches(server: QdrantServer) -> int:
    return sum(path.endswith(QUERY_BATCH) for _, path, _ in server.asked)
