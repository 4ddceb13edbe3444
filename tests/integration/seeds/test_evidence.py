"""Videos that are kept for operators: which ones, for how long, and that no decision depends on it."""

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
from gateway.settings import Settings
from services.contracts import Decision, Verdict
from services.errors import NotFound, NotReady
from services.storage import Storage, StorageUnavailable
from tests.integration.gateway.conftest import Running, Start

BLOCK, REVIEW, ALLOW = {"arson": 0.95}, {"arson": 0.5}, {"arson": 0.1}
DAYS: dict[Verdict, int] = {"review": 7, "block": 30}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def until_counted(running: Running, outcome: str, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while await running.metric(f'winnow_gateway_evidence_total{{outcome="{outcome}"}}') < count:
            await asyncio.sleep(0.01)


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


async def judged(running: Running, ranks: dict[str, float], video: bytes = b"a video") -> Decision:
    running.router.risks["arson"] = 0.9
    running.router.ranks = ranks
    response = await running.moderate(video)
    assert response.status_code == 200, response.text
    assert running.spooled() == []
    return Decision.model_validate_json(response.content)


async def test_blocked_and_doubtful_videos_are_kept_and_others_are_not(start: Start, tmp_path: Path) -> None:
    running = await start(cache_ttl_s=0.0, evidence_min_free_bytes=0)
    blocked = await judged(running, BLOCK, b"bad")
    doubtful = await judged(running, REVIEW, b"odd")
    allowed = await judged(running, ALLOW, b"fine")
    assert [each.verdict for each in (blocked, doubtful, allowed)] == ["block", "review", "allow"]
    await until_counted(running, "kept", 2)
    kept = {f"block/{blocked.id}": b"bad", f"review/{doubtful.id}": b"odd"}
    assert files(tmp_path / "data" / "gateway" / "evidence") == kept
    await until(lambda: files(running.settings.evidence_waiting_path) == {})


async def test_the_same_video_is_kept_for_each_decision_also_where_the_result_is_cached(
    start: Start, tmp_path: Path
) -> None:
    running = await start(evidence_min_free_bytes=0)
    first, second = await judged(running, BLOCK), await judged(running, BLOCK)
    await until_counted(running, "kept", 2)
    kept = {f"block/{first.id}": b"a video", f"block/{second.id}": b"a video"}
    assert files(tmp_path / "data" / "gateway" / "evidence") == kept


async def test_a_verdict_with_no_days_is_not_kept(start: Start, tmp_path: Path) -> None:
    running = await start(cache_ttl_s=0.0, evidence_min_free_bytes=0, evidence_days_review=0)
    await judged(running, REVIEW)
    blocked = await judged(running, BLOCK)
    await until_counted(running, "kept")
    assert list(files(tmp_path / "data" / "gateway" / "evidence")) == [f"block/{blocked.id}"]


async def test_any_storage_of_fsspec_will_do(start: Start) -> None:
    running = await start(evidence_storage_url="memory://kept-here")
    decision = await judged(running, BLOCK)
    await until_counted(running, "kept")
    assert await Storage("memory://kept-here").read(f"block/{decision.id}") == b"a video"


async def test_a_storage_that_fails_costs_no_decision_and_gets_the_video_once_it_is_back(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_module, "FIRST_PAUSE_S", 0.01)
    (tmp_path / "occupied").write_bytes(b"a file where a directory should be")
    running = await start(evidence_storage_url=f"file://{tmp_path}/occupied", evidence_min_free_bytes=0)
    decision = await judged(running, BLOCK)
    assert decision.verdict == "block"
    await until_counted(running, "delayed")
    assert files(running.settings.evidence_waiting_path) == {f"block.{decision.id}": b"a video"}
    (tmp_path / "occupied").unlink()
    await until_counted(running, "kept")
    assert files(tmp_path / "occupied") == {f"block/{decision.id}": b"a video"}
    await until(lambda: files(running.settings.evidence_waiting_path) == {})


async def test_a_full_disk_is_left_alone(start: Start, tmp_path: Path) -> None:
    running = await start(evidence_min_free_bytes=2**60)
    await judged(running, BLOCK)
    await until_counted(running, "no_room")
    await until(lambda: files(running.settings.evidence_waiting_path) == {})
    assert files(tmp_path / "data" / "gateway" / "evidence") == {}


async def test_old_videos_go_some_time_after_the_start(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_module, "FIRST_SWEEP_S", 0.01)
    folder = tmp_path / "data" / "gateway" / "evidence"
    for name, days in {"review/old": 8, "review/young": 6, "block/old": 31, "block/young": 29}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a video")
        os.utime(path, (time.time() - days * 86_400,) * 2)
    running = await start()
    await until_counted(running, "removed", 2)
    assert set(files(folder)) == {"review/young", "block/young"}


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


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (None, "data/gateway/evidence"),
        ("/srv/kept", "/srv/kept"),
        ("file:///srv/kept", "/srv/kept"),
        ("s3://bucket/kept", None),
        ("memory://kept", None),
    ],
)
def test_only_a_local_storage_has_a_disk_to_look_at(tmp_path: Path, url: str | None, path: str | None) -> None:
    settings = Settings(data_dir=tmp_path / "data", evidence_storage_url=url)
    assert settings.evidence_path == (None if path is None else tmp_path / path)


def test_videos_wait_on_the_disk_of_the_spool(tmp_path: Path) -> None:
    elsewhere = Settings(data_dir=tmp_path, spool_dir=tmp_path / "fast")
    assert elsewhere.evidence_waiting_path == tmp_path / "fast" / "evidence-waiting"
    assert Settings(data_dir=tmp_path).evidence_waiting_path == tmp_path / "gateway" / "evidence-waiting"
