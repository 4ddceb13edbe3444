"""Videos that are kept for operators: which ones, and for how long, through a whole gateway."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from gateway import evidence as evidence_module
from gateway.settings import Settings
from services.contracts import Decision
from services.storage import Storage
from tests.integration.gateway.conftest import Running, Start
from tests.integration.seeds.evidence_tools import files, until

BLOCK, REVIEW, ALLOW = {"arson": 0.95}, {"arson": 0.5}, {"arson": 0.1}


async def until_counted(running: Running, outcome: str, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while await running.metric(f'winnow_gateway_evidence_total{{outcome="{outcome}"}}') < count:
            await asyncio.sleep(0.01)


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
