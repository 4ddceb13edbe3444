"""`winnow lab tables` from toy art to its report: six trainings of a moment, stopped half-way and gone on with."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from offline.demo_world.generate import generate
from offline.demo_world.splits import Counts
from offline.paper.tables import Plan, make_tables
from offline.stages import ROUTER_MODEL, SEED_MANIFEST
from services.policy import Policy, default_policy_path, load_policy
from services.torchvision_compat import ensure_torchvision
from tests.unit.offline.toy_art import write_training_art

ensure_torchvision()
COUNTS = Counts(violation=12, look_alike=10, other=10)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=160)


@pytest.fixture
def work(tmp_path: Path, console: Console) -> Path:
    from offline.training.dense import DenseRecipe, train_dense

    art = write_training_art(tmp_path / "art")
    for split in ("test", "calibration"):
        generate(art, tmp_path / "videos" / split, split, COUNTS, console)  # type: ignore[arg-type]
    train_dense(art, tmp_path / "router", DenseRecipe(minutes=0.01, layers=4, batch=4, clip_every=1), console)
    return tmp_path


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """The bundled policy with thresholds that let half the toy videos pass at least."""
    text = re.sub(r"threshold: [0-9.]+", "threshold: 0.0", default_policy_path().read_text(encoding="utf-8"))
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def test_the_whole_study(work: Path, policy: Policy, console: Console) -> None:
    plan = Plan(work, ROUTER_MODEL, SEED_MANIFEST, work / "results", 0.02, videos=48, rounds=3)
    markdown, data = make_tables(plan, policy, console)
    text = markdown.read_text(encoding="utf-8")
    assert "Synthetic: says nothing about real content" in text
    assert (work / "results" / "figure3.png").stat().st_size > 5000
    found = json.loads(data.read_text(encoding="utf-8"))
    assert len(found["table1"]) == 20
    assert found["test"]["videos"] == COUNTS.total
    assert [model["name"] for model in found["models"]][:2] == ["zero-shot", "caption"]

    told = Console(file=io.StringIO(), width=160)
    make_tables(plan, policy, told)
    assert "run 1 of" not in told.file.getvalue(), "nothing is trained twice"
    assert "prompts about" not in told.file.getvalue(), "nothing is asked twice"
    again = json.loads(data.read_text(encoding="utf-8"))
    assert again == found

    (work / "paper" / "runs" / "phased-few" / "done").unlink()
    (work / "paper" / "runs" / "phased-few" / "run.json").write_text("{}", encoding="utf-8")
    told = Console(file=io.StringIO(), width=160)
    make_tables(plan, policy, told)
    said = told.file.getvalue()
    assert "phased-few: its settings or its start have changed; it is trained anew" in said
    assert "run 5 of 6: phased-few" in said
    assert "run 1 of 6" not in said


def test_what_is_missing_is_named(work: Path, policy: Policy, console: Console) -> None:
    (work / "videos" / "calibration" / "manifest.jsonl").unlink()
    plan = Plan(work, ROUTER_MODEL, SEED_MANIFEST, work / "results", 0.02)
    with pytest.raises(ValueError, match="winnow lab world --split calibration"):
        make_tables(plan, policy, console)
