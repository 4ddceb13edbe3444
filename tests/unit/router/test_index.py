"""The indexes of seed vectors, asked the same; the one in memory is the oracle of the others."""

import asyncio
import itertools
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from router_svc.bank import Entry, MemoryIndex, VectorIndex, seed_id_of
from router_svc.bank.edge import EdgeIndex
from router_svc.bank.points import portions
from router_svc.bank.qdrant import ALIAS, QdrantIndex
from services.errors import NotReady
from tests.unit.router.index_promises import ARSON, DIM, GROUPS, IndexPromises, Make, StoredPromises, sid, unit

ENCODER = "0123456789abcdef"


class TestMemory(IndexPromises):
    @pytest.fixture
    def make(self) -> Make:
        return lambda encoder: MemoryIndex(encoder, DIM)


class TestEdge(StoredPromises):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda encoder: EdgeIndex(tmp_path, encoder, DIM)


class TestEdgeThatHasOutgrownMemory(StoredPromises):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda encoder: EdgeIndex(tmp_path, encoder, DIM, memory_vectors=3, flush_vectors=1)


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
class TestQdrantInLocalMode(StoredPromises):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        # Local mode lets one client at a time open a directory.
        return lambda encoder: local(tmp_path / encoder, encoder)

    async def test_the_alias_points_at_the_collection_that_is_made_live(self, tmp_path: Path) -> None:
        shared = QdrantClient(path=str(tmp_path), force_disable_check_same_thread=True)
        first, second = (
            QdrantIndex("", encoder, DIM, threads=1, connect=lambda: shared) for encoder in ("a" * 16, "b" * 16)
        )
        for index in (first, second, second, first):
            await index.open()
            await index.make_live()
            (alias,) = shared.get_aliases().aliases
            assert (alias.alias_name, alias.collection_name) == (ALIAS, index._collection)
        await first.close()
        await second.close()


def local(path: Path, encoder: str) -> VectorIndex:
    return QdrantIndex("", encoder, DIM, threads=1, connect=lambda: QdrantClient(path=str(path)))


def test_who_shares_an_index(tmp_path: Path) -> None:
    assert QdrantIndex("http://127.0.0.1:9", ENCODER, DIM).shared
    assert not EdgeIndex(tmp_path, ENCODER, DIM).shared
    assert not MemoryIndex(ENCODER, DIM).shared


async def test_a_directory_is_open_in_one_place_at_a_time(tmp_path: Path) -> None:
    first, second = EdgeIndex(tmp_path, ENCODER, DIM), EdgeIndex(tmp_path, ENCODER, DIM)
    await first.open()
    await first.put([Entry(sid(1), ARSON, unit(2))])
    with pytest.raises(NotReady, match="another process"):
        await second.open()
    with pytest.raises(NotReady, match="not open"):
        await second.search(unit(1), [ARSON], 1)
    await first.close()
    await second.open()
    assert await second.seed_ids() == {sid(1)}
    await second.close()


KILLED = """
import asyncio, os, pathlib, signal, sys
from router_svc.bank import Entry
from router_svc.bank.edge import EdgeIndex
from tests.unit.router.index_promises import ARSON, DIM, sid, unit

async def main():
    index = EdgeIndex(pathlib.Path(sys.argv[1]), sys.argv[2], DIM)
    await index.open()
    await index.put([Entry(sid(i), ARSON, unit(3)) for i in range(4)])
    await index.remove([sid(3)])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_put_and_removed_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(tmp_path), ENCODER)
    assert await killed.wait() == -signal.SIGKILL
    index = EdgeIndex(tmp_path, ENCODER, DIM)
    await index.open()
    assert await index.seed_ids() == {sid(0), sid(1), sid(2)}
    assert len((await index.search(unit(1), [ARSON], 99))[ARSON][0]) == 9
    await index.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    path.write_bytes(bytes(byte ^ 0xA5 for byte in path.read_bytes()))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("edge_config.json", cut),
        ("segments/*/segment.json", Path.unlink),
        ("segments/*/vector_storage/deleted/status.dat", cut),  # Qdrant Edge panics
        ("segments/*/vector_storage/vectors/chunk_0.mmap", Path.unlink),
        ("segments/*/payload_storage/page_0.dat", scramble),
        ("wal/first-index", scramble),
        ("wal/open-1", lambda path: path.write_bytes(b"")),
    ],
)
async def test_a_damaged_index_is_made_anew(
    tmp_path: Path, file: str, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    first = EdgeIndex(tmp_path, ENCODER, DIM)
    await first.open()
    await first.put([Entry(sid(i), GROUPS[i % 3], unit(2)) for i in range(9)])
    await first.close()
    (path,) = (tmp_path / ENCODER).glob(file)
    damage(path)
    second = EdgeIndex(tmp_path, ENCODER, DIM)
    with caplog.at_level(logging.WARNING):
        await second.open()
    assert "made anew" in caplog.text
    assert await second.seed_ids() == frozenset()
    await second.put([Entry(sid(1), ARSON, unit(2))])
    assert len((await second.search(unit(1), [ARSON], 9))[ARSON][0]) == 2
    await second.close()


async def test_vectors_of_another_length_are_no_index_of_this_encoder(tmp_path: Path) -> None:
    first = EdgeIndex(tmp_path, ENCODER, DIM)
    await first.open()
    await first.close()
    second = EdgeIndex(tmp_path, ENCODER, 2 * DIM)
    await second.open()
    await second.put([Entry(sid(1), ARSON, unit(2).reshape(1, 2 * DIM))])
    assert await second.seed_ids() == {sid(1)}
    await second.close()


async def test_a_place_that_cannot_be_written_is_not_ready_until_it_can(tmp_path: Path) -> None:
    place = tmp_path / "index"
    place.write_text("a file")
    index = EdgeIndex(place, ENCODER, DIM)
    with pytest.raises(NotReady):
        await index.open()
    place.unlink()
    await index.open()
    assert await index.seed_ids() == frozenset()
    await index.close()


async def test_it_finds_the_same_before_and_after_it_outgrows_memory(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, ENCODER, DIM, memory_vectors=20)
    await index.open()
    await index.put([Entry(sid(i), GROUPS[i % 3], unit(2)) for i in range(10)])
    before = await index.search(unit(2), GROUPS, 3, exclude={GROUPS[1]: [sid(4)]})
    assert index._arrays is not None
    await index.put([Entry(sid(99), GROUPS[0], -unit(1))])
    assert index._arrays is None
    after = await index.search(unit(2), GROUPS, 3, exclude={GROUPS[1]: [sid(4)]})
    for group, frame in itertools.product(GROUPS, range(2)):
        expected = [hit.similarity for hit in before[group][frame]]
        assert [hit.similarity for hit in after[group][frame]] == pytest.approx(expected, abs=1e-5)
    await index.close()
    again = EdgeIndex(tmp_path, ENCODER, DIM, memory_vectors=20)
    await again.open()
    assert again._arrays is None
    await again.remove([sid(99)])
    await again.close()
    await (smaller := EdgeIndex(tmp_path, ENCODER, DIM, memory_vectors=20)).open()
    assert smaller._arrays is not None
    await smaller.close()


def test_portions_have_about_so_many_vectors_and_lose_none() -> None:
    entries = [Entry(sid(number), ARSON, unit(rows)) for number, rows in enumerate((3, 1, 1, 9, 2, 2, 1))]
    assert [[len(entry.vectors) for entry in portion] for portion in portions(entries, 4)] == [
        [3, 1],
        [1, 9],
        [2, 2],
        [1],
    ]
    assert list(portions([], 4)) == []


async def test_a_caller_that_leaves_does_no_harm(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, ENCODER, DIM)
    opening = asyncio.create_task(index.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await index.open()
    await index.put([Entry(sid(1), ARSON, unit(1))])
    assert await index.seed_ids() == {sid(1)}
    await index.close()


def test_seed_ids() -> None:
    ids = {
        seed_id_of("a" * 64, "arson", "golden", 0.0, 1.0),
        seed_id_of("b" * 64, "arson", "golden", 0.0, 1.0),
        seed_id_of("a" * 64, "smoking", "golden", 0.0, 1.0),
        seed_id_of("a" * 64, "arson", "negative", 0.0, 1.0),
        seed_id_of("a" * 64, "arson", "golden", 0.5, 1.0),
        seed_id_of("a" * 64, "arson", "golden", 0.0, 1.5),
    }
    assert len(ids) == 6
    assert seed_id_of("a" * 64, "arson", "golden", 0.0001, 1.0) in ids
