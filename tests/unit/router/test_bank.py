"""The two seed banks, asked the same; the one in memory is the oracle of the one in Qdrant."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from router_svc.bank import MemoryBank, SeedBank, seed_id_of
from router_svc.bank.qdrant import QdrantBank
from services.contracts import Seed, SeedKind
from services.errors import NotReady

ENCODER, DIM = "0123456789abcdef", 8
RNG = np.random.default_rng(5)


def unit(rows: int) -> np.ndarray:
    vectors = RNG.normal(size=(rows, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def seed(number: int, issue: str = "arson", kind: SeedKind = "golden", rows: int = 2) -> Seed:
    sha = f"{number:064x}"
    return Seed(
        id=seed_id_of(sha, issue, kind, 0.0, 1.0),
        issue=issue,
        kind=kind,
        start_s=0.0,
        end_s=1.0,
        sha256=sha,
        vectors=rows,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture(params=["memory", "qdrant", "qdrant searches"])
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SeedBank]:
    made: SeedBank = MemoryBank(ENCODER)
    if request.param != "memory":
        made = QdrantBank(ENCODER, DIM, path=tmp_path / "q", in_memory=request.param == "qdrant")
    await made.open()
    yield made
    await made.close()


async def test_adding_twice_is_adding_once(bank: SeedBank) -> None:
    vectors = unit(2)
    empty = await bank.status()
    assert (await bank.add(seed(1), vectors))[1]
    changed = seed(1).model_copy(update={"note": "another"})
    kept, new = await bank.add(changed, vectors)
    status = await bank.status()
    assert (kept.note, new) == ("", False)
    assert (status.seeds, status.vectors) == ({"arson": 1}, 2)
    assert status.revision != empty.revision


async def test_search_tells_issues_and_negatives_apart(bank: SeedBank) -> None:
    vectors = unit(3)
    await bank.add(seed(1, rows=1), vectors[:1])
    await bank.add(seed(2, kind="negative", rows=1), vectors[1:2])
    await bank.add(seed(3, issue="smoking", rows=1), vectors[2:])
    found = await bank.search(vectors, ["arson", "gambling"], limit=5)
    assert found.revision == (await bank.status()).revision
    assert found.issues.keys() == {"arson", "gambling"}
    arson = found.issues["arson"]
    assert [match.frame for match in arson.positives] == [0, 1, 2]
    assert {(match.seed_id, match.kind) for match in arson.positives} == {(seed(1).id, "golden")}
    assert arson.positives[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert {match.kind for match in arson.negatives} == {"negative"}
    assert arson.negatives[1].similarity == pytest.approx(1.0, abs=1e-5)
    assert found.issues["gambling"].positives == ()


@pytest.mark.parametrize("in_memory", [True, False])
async def test_qdrant_agrees_with_the_oracle(tmp_path: Path, in_memory: bool) -> None:
    oracle, real = MemoryBank(ENCODER), QdrantBank(ENCODER, DIM, path=tmp_path, in_memory=in_memory)
    for number in range(30):
        if number == 10:  # the rest joins vectors that a search has loaded
            await real.search(unit(1), ["arson"], 4)
        kind: SeedKind = "negative" if number % 3 == 0 else "golden"
        vectors = unit(2)
        await oracle.add(seed(number, kind=kind), vectors)
        await real.add(seed(number, kind=kind), vectors)
    queries = unit(5)
    expected = (await oracle.search(queries, ["arson"], 4)).issues["arson"]
    found = (await real.search(queries, ["arson"], 4)).issues["arson"]
    assert await real.status() == await oracle.status()
    await real.close()
    for ours, theirs in ((expected.positives, found.positives), (expected.negatives, found.negatives)):
        assert [(m.frame, m.seed_id, m.kind) for m in ours] == [(m.frame, m.seed_id, m.kind) for m in theirs]
        assert [m.similarity for m in ours] == pytest.approx([m.similarity for m in theirs], abs=1e-5)


async def test_qdrant_keeps_revision_and_seeds_over_a_restart(tmp_path: Path) -> None:
    first = QdrantBank(ENCODER, DIM, path=tmp_path)
    for number in (2, 1):
        await first.add(seed(number), unit(2))
    before = await first.status()
    await first.close()
    second = QdrantBank(ENCODER, DIM, path=tmp_path)
    assert await second.status() == before
    assert not (await second.add(seed(1), unit(2)))[1]
    await second.close()


async def test_what_a_crash_left_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(4)
    first = QdrantBank(ENCODER, DIM, path=tmp_path)
    await first.add(seed(1), vectors[:2])
    records = first._records
    monkeypatch.setattr(first, "_records", "missing")  # the crash: vectors are written, the catalogue is not
    with pytest.raises(NotReady):
        await first.add(seed(2), vectors[2:])
    await first.close()
    second = QdrantBank(ENCODER, DIM, path=tmp_path)
    assert second._records == records
    found = (await second.search(vectors[2:], ["arson"], 2)).issues["arson"].positives
    assert [match.seed_id for match in found] == [seed(1).id] * 4  # nor does it crowd out what is there
    assert (await second.add(seed(2), vectors[2:]))[1]
    again = (await second.search(vectors[2:3], ["arson"], 4)).issues["arson"].positives
    assert again[0].seed_id == seed(2).id
    assert sorted(match.seed_id for match in again) == sorted([seed(1).id, seed(2).id] * 2)
    await second.close()


async def test_another_encoder_sees_none_of_it(tmp_path: Path) -> None:
    first = QdrantBank(ENCODER, DIM, path=tmp_path)
    await first.add(seed(1), unit(2))
    await first.close()
    other = QdrantBank("fedcba9876543210", DIM, path=tmp_path)
    assert (await other.status()).seeds == {}
    await other.close()


# qdrant_client leaves its lock file to the garbage collector when the lock is taken.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_bank_in_use_elsewhere_is_not_ready(tmp_path: Path) -> None:
    first, second = QdrantBank(ENCODER, DIM, path=tmp_path), QdrantBank(ENCODER, DIM, path=tmp_path)
    await first.open()
    with pytest.raises(NotReady):
        await second.open()
    await first.close()
    assert (await second.status()).seeds == {}  # it tries again
    await second.close()


async def test_an_unreachable_server_is_not_ready() -> None:
    bank = QdrantBank(ENCODER, DIM, url="http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(NotReady):
        await bank.status()
    await bank.close()


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
