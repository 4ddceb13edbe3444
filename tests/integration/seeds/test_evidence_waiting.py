"""Videos on their way to the storage: no decision waits for them, an outage loses none, and what waits is bounded."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from gateway import evidence as evidence_module
from gateway.evidence import Evidence
from services.contracts import Decision, Verdict
from services.errors import NotFound, NotReady
from services.storage import Storage, StorageUnavailable
from tests.integration.seeds.evidence_tools import files, until

DAYS: dict[Verdict, int] = {"review": 7, "block": 30}


class Stuck(Storage):
    """A storage that writes when the test lets it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.free = asyncio.Event()

    async def put_file(self, key: str, path: Path) -> None:
        await self.free.wait()
        await super().put_file(key, path)


def made(storage: Storage, tmp_path: Path, **changes: Any) -> tuple[Evidence, Callable[[str], float]]:
    outcomes = Counter("outcomes", "Of tests.", ["outcome"], registry=CollectorRegistry())
    given = {
        "days": DAYS, "max_waiting_bytes": 100, "path": None, "min_free_bytes": 0, "outcomes": outcomes, **changes
    }  # fmt: skip
    return Evidence(storage, tmp_path / "waiting", **given), lambda name: outcomes.labels(name)._value.get()


def decision_of(verdict: Verdict, number: int = 1, *, age_days: float = 0.0) -> Decision:
    return Decision(
        id=f"dec_{number:032x}",
        created_at=datetime.now(UTC) - timedelta(days=age_days),
        verdict=verdict,
        route="refined",
        mode="cascade",
        issues=(),
        sha256="0" * 64,
        policy_hash="p",
        request_id="r",
        trace_id="t",
    )


def video(tmp_path: Path, content: bytes = b"a video") -> Path:
    path = tmp_path / "upload"
    path.write_bytes(content)
    return path


async def test_nobody_waits_for_a_slow_storage_but_who_asks_for_the_video(tmp_path: Path) -> None:
    storage = Stuck(str(tmp_path / "kept"))
    evidence, _ = made(storage, tmp_path)
    decision, path = decision_of("block"), video(tmp_path)
    async with evidence.running():
        async with asyncio.timeout(5):
            await evidence.keep(decision, path)
        assert not path.exists()
        fetching = asyncio.create_task(evidence.fetch(decision, tmp_path / "copy"))
        await asyncio.sleep(0.1)
        assert not fetching.done()
        storage.free.set()
        assert await fetching == 7
    assert (tmp_path / "copy").read_bytes() == b"a video"


async def test_more_than_may_wait_is_not_kept_and_stays_in_the_spool(tmp_path: Path) -> None:
    storage = Stuck(str(tmp_path / "kept"))
    evidence, count = made(storage, tmp_path, max_waiting_bytes=10)
    async with asyncio.timeout(20), evidence.running():
        await evidence.keep(decision_of("block", 1), video(tmp_path))
        path = video(tmp_path)
        await evidence.keep(decision_of("block", 2), path)
        assert path.exists()
        assert count("no_room") == 1
        storage.free.set()
        await until(lambda: count("kept") == 1)
        await until(lambda: files(tmp_path / "waiting") == {})
        await evidence.keep(decision_of("block", 3), path)
        await until(lambda: count("kept") == 2)


async def test_what_a_process_could_not_store_the_next_one_does(tmp_path: Path) -> None:
    storage = Stuck(str(tmp_path / "kept"))
    evidence, _ = made(storage, tmp_path)
    async with asyncio.timeout(20), evidence.running():
        await evidence.keep(decision_of("block", 1), video(tmp_path))
    assert files(tmp_path / "kept") == {}
    # The process before had stored this one, and was killed before it removed the file.
    await storage.put("review/" + decision_of("review", 2).id, b"whole")
    (tmp_path / "waiting" / f"review.{decision_of('review', 2).id}").write_bytes(b"other")
    storage.free.set()
    evidence, count = made(storage, tmp_path)
    async with evidence.running():
        await until(lambda: files(tmp_path / "waiting") == {})
    kept = {"block/" + decision_of("block", 1).id: b"a video", "review/" + decision_of("review", 2).id: b"whole"}
    assert files(tmp_path / "kept") == kept
    assert count("kept") == 1


async def test_a_caller_who_leaves_takes_no_evidence_along(tmp_path: Path) -> None:
    evidence, count = made(Storage(str(tmp_path / "kept")), tmp_path)
    async with evidence.running():
        keeping = asyncio.create_task(evidence.keep(decision_of("block"), video(tmp_path)))
        await asyncio.sleep(0)
        keeping.cancel()
        await until(lambda: count("kept") == 1)


@pytest.mark.parametrize(
    ("decision", "days", "says"),
    [
        (decision_of("allow"), DAYS, "videos are kept of `review` and `block` alone"),
        (decision_of("block", age_days=31), DAYS, "is no longer kept: those of `block` are for 30 days"),
        (decision_of("review"), {"review": 0, "block": 30}, "keeps no videos of the verdict `review`"),
        (decision_of("block", age_days=1), DAYS, "could not be kept; the gateway's log says why"),
    ],
)
async def test_why_there_is_no_video(tmp_path: Path, decision: Decision, days: dict[Verdict, int], says: str) -> None:
    evidence, _ = made(Storage(str(tmp_path / "kept")), tmp_path, days=days)
    with pytest.raises(NotFound, match=says):
        await evidence.fetch(decision, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


class Away(Storage):
    """A storage that takes nothing before the test lets it, and notes when it was asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.back = False
        self.asked: list[float] = []

    async def put_file(self, key: str, path: Path) -> None:
        self.asked.append(time.monotonic())
        if not self.back:
            raise StorageUnavailable("Connection refused")
        await super().put_file(key, path)


async def test_a_video_waits_for_a_storage_that_is_away_and_is_tried_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_module, "FIRST_PAUSE_S", 0.05)
    storage = Away(str(tmp_path / "kept"))
    evidence, count = made(storage, tmp_path, max_waiting_bytes=10)
    decision = decision_of("block")
    async with asyncio.timeout(20), evidence.running():
        await evidence.keep(decision, video(tmp_path))
        with pytest.raises(NotReady, match="is not stored yet"):
            await evidence.fetch(decision, tmp_path / "copy")
        await until(lambda: len(storage.asked) == 4)
        third, fourth = storage.asked[2:4]
        assert fourth - third > 0.15, "0.05, 0.1 and 0.2 seconds"
        assert files(tmp_path / "waiting") == {f"block.{decision.id}": b"a video"}
        await evidence.keep(decision_of("block", 2), video(tmp_path))
        assert (count("delayed"), count("failed"), count("no_room")) == (1, 0, 1), "what waits is bounded"
        storage.back = True
        await until(lambda: count("kept") == 1)
        assert await evidence.fetch(decision, tmp_path / "copy") == 7
        await until(lambda: files(tmp_path / "waiting") == {})


async def test_a_gateway_stops_at_once_while_videos_wait_for_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_module, "FIRST_PAUSE_S", 600.0)
    evidence, count = made(Away(str(tmp_path / "kept")), tmp_path)
    async with asyncio.timeout(20), evidence.running():
        await evidence.keep(decision_of("block"), video(tmp_path))
        await until(lambda: count("delayed") == 1)
    assert list(files(tmp_path / "waiting").values()) == [b"a video"]


async def test_a_video_whose_days_are_over_waits_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "FIRST_PAUSE_S", 0.01)
    evidence, count = made(Away(str(tmp_path / "kept")), tmp_path)
    async with asyncio.timeout(20), evidence.running():
        await evidence.keep(decision_of("block"), video(tmp_path))
        await until(lambda: count("delayed") == 1)
        [waiting] = (tmp_path / "waiting").iterdir()
        os.utime(waiting, (0, 0))
        await until(lambda: count("failed") == 1)
        await until(lambda: not waiting.exists())


async def test_a_waiting_file_that_is_gone_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "FIRST_PAUSE_S", 0.01)
    evidence, count = made(Away(str(tmp_path / "kept")), tmp_path, max_waiting_bytes=10)
    async with asyncio.timeout(20), evidence.running():
        await evidence.keep(decision_of("block"), video(tmp_path))
        await until(lambda: count("delayed") == 1)
        next((tmp_path / "waiting").iterdir()).unlink()
        await until(lambda: count("failed") == 1)
        await evidence.keep(decision_of("block", 2), video(tmp_path))
        await until(lambda: count("delayed") == 2)


class Down(Storage):
    """A storage that cannot be asked the first two times, once for a reason that nobody thought of."""

    asked = 0

    async def older(self, folder: str, than: datetime) -> list[str]:
        self.asked += 1
        if self.asked == 1:
            raise StorageUnavailable("Connection refused")
        if self.asked == 2:
            raise ValueError("odd")
        return await super().older(folder, than)


async def test_a_sweep_that_cannot_be_made_is_made_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "FIRST_SWEEP_S", 0.0)
    monkeypatch.setattr(evidence_module, "SWEEP_EVERY_S", 0.01)
    path = tmp_path / "kept" / "review" / "old"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a video")
    os.utime(path, (0, 0))
    # No key: somebody's copy.
    (path.parent / "a copy").write_bytes(b"a video")
    os.utime(path.parent / "a copy", (0, 0))
    evidence, count = made(Down(str(tmp_path / "kept")), tmp_path)
    async with evidence.running():
        await until(lambda: count("removed") == 1)
    assert files(tmp_path / "kept") == {"review/a copy": b"a video"}
