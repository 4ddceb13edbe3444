"""The lab's commands as a user types them, on a running cascade and the bundled clips as if they were their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.policy import default_policy_path, load_policy
from tests.e2e.conftest import Stack
from winnow.seeds import BUNDLED
from winnow.stack import without_settings

CLIPS = BUNDLED / "clips" / "manifest.jsonl"


def winnow(*arguments: object, cwd: Path, code: int = 0) -> str:
    """What a command prints; it has to end with this code."""
    done = subprocess.run(
        [sys.executable, "-m", "winnow", *map(str, arguments)], check=False, capture_output=True, text=True,
        timeout=300, cwd=cwd,
        env={**without_settings(os.environ), "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


def test_evaluate_writes_a_report_of_what_the_services_say(stack: Stack, folder: Path) -> None:
    command = [
        "lab", "evaluate", "--url", stack.gateway, "--router-url", stack.router, "--ranker-url", stack.ranker,
        "--manifest", CLIPS, "--mix", "demo", "--full-sample", 6, "--name", "clips", "--out", "out", "--work", "work",
    ]  # fmt: skip
    printed = winnow(*command, cwd=folder)
    assert "wrote out/clips.md" in printed
    made = json.loads((folder / "out" / "clips.json").read_text(encoding="utf-8"))
    assert made["videos"] == {"look_alike": 5, "other": 5, "violation": 6}
    assert {path.name for path in (folder / "out").glob("*.png")} >= {"clips-recall.png", "clips-systems.png"}


def test_tune_writes_router_thresholds_into_the_policy(stack: Stack, folder: Path) -> None:
    policy = folder / "policy.yaml"
    shutil.copyfile(default_policy_path(), policy)
    before = load_policy(policy)
    command = [
        "tune", "--pass-rate", 0.5, "--url", stack.gateway, "--manifest", CLIPS, "--mix", "demo",
        "--observations", "seen.jsonl", "--policy", policy, "--write", "--out", "tune.json", "--work", "work",
    ]  # fmt: skip
    winnow(*command, cwd=folder)
    after = load_policy(policy)
    assert {issue.id for issue in after.issues} == {issue.id for issue in before.issues}
    assert after.content_hash != before.content_hash
    assert policy.read_text(encoding="utf-8").count("#") == default_policy_path().read_text(encoding="utf-8").count("#")


def test_tune_says_that_no_thresholds_keep_a_promise(stack: Stack, folder: Path) -> None:
    """Six violations can prove nothing; it says so, and by how much each figure misses."""
    printed = winnow(
        "tune", "--recall", 0.9, "--url", stack.gateway, "--manifest", CLIPS, "--mix", "demo",
        "--observations", "seen.jsonl", "--out", "promise.json", "--work", "work", cwd=folder, code=3,
    )  # fmt: skip
    assert "o thresholds keep the promise" in " ".join(printed.split())
    assert "for sure only" in printed


def test_an_experiment_compares_two_rules_on_the_same_gateway(stack: Stack, folder: Path) -> None:
    printed = winnow(
        "lab", "experiment", "--treatment-url", stack.gateway, "--requests", 100, "--manifest", CLIPS, "--mix", "demo",
        "--name", "arms", "--out", "out", "--work", "work", cwd=folder,
    )  # fmt: skip
    assert "wrote out/arms.md" in printed
    made = json.loads((folder / "out" / "arms.json").read_text(encoding="utf-8"))
    assert made["drawn"] == 100
    assert made["trusted"]
    assert set(made["rules"]) == {"control", "treatment"}
