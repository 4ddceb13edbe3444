"""Decisions on disk: gone on with, never mixed."""

from pathlib import Path

import pytest

from offline.evaluation.asking import Question
from offline.evaluation.store import Store, StoreError
from services.contracts import Context, Decision, ModelsUsed, ModerationRequest
from tests.unit.offline.decisions import decision, issue


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"video")
    return path


def asked(video: Path, title: str = "", name: str = "a") -> Question:
    return Question(name, video, ModerationRequest(context=Context(title=title)), "http://gateway")


def made(ranker: str | None = None, **models: str) -> Decision:
    used = ModelsUsed(ranker=ranker, **{"encoder": "e1", "bank_revision": "b1", **models})
    return decision(issue("arson", risk=0.5, probability=0.9 if ranker else None), models=used)


def test_a_second_start_finds_what_was_decided(tmp_path: Path, video: Path) -> None:
    path = tmp_path / "made" / "cascade.jsonl"
    with Store(path) as store:
        assert store.find(asked(video)) is None
        store.add(asked(video), made("r1"))
    with Store(path) as store:
        assert store.find(asked(video)) == made("r1")
        assert store.find(asked(video, title="another")) is None, "it is another question"
        assert store.find(asked(video, name="b")) is None
        video.write_bytes(b"another video")
        assert store.find(asked(video)) is None, "it is another video"


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path: Path, video: Path) -> None:
    path = tmp_path / "cascade.jsonl"
    with Store(path) as store:
        store.add(asked(video), made())
        store.add(asked(video, name="b"), made())
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with Store(path) as store:
        assert store.find(asked(video)) is not None
        assert store.find(asked(video, name="b")) is None
        store.add(asked(video, name="b"), made())
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line", ["{}", "[]", "null", "no json", '{"id": "a", "about": "x", "decision": {"verdict": 1}}']
)
def test_what_is_no_decision_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "cascade.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"cascade\.jsonl:1 holds no decision; remove the file"), Store(path):
        pass


def test_decisions_of_other_models_are_not_mixed(tmp_path: Path, video: Path) -> None:
    path = tmp_path / "cascade.jsonl"
    with Store(path) as store:
        store.add(asked(video), made())
        store.add(asked(video, name="b"), made("r1"))  # the ranker had no say before: that is no contradiction
        store.add(asked(video, name="c"), made())
        with pytest.raises(StoreError, match="of ranker r1, and the services now run r2"):
            store.add(asked(video, name="d"), made("r2"))
    with Store(path) as store, pytest.raises(StoreError, match="of encoder e1, and the services now run e2"):
        store.add(asked(video, name="d"), made(encoder="e2"))


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "cascade.jsonl"
    with Store(path), pytest.raises(StoreError, match="another run"), Store(path):
        pass
    with Store(path):
        pass
