"""The README's commands as a user types them, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from services.contracts import Decision
from tests.e2e.conftest import READY_S, Stack
from winnow.seeds import BUNDLED
from winnow.stack import without_settings
from winnow.supervisor import free_ports

WINNOW = [sys.executable, "-m", "winnow"]


def leftovers(data_dir: Path) -> list[str]:
    """Commands of processes that were started for a data directory and are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(data_dir).encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return found


def test_demo_decides_about_every_clip_and_leaves_nothing_running(tmp_path: Path) -> None:
    out = tmp_path / "demo.json"
    command = [*WINNOW, "demo", "--out", str(out), "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**without_settings(os.environ), "COLUMNS": "200"},
    ) as process:  # fmt: skip
        table, progress = process.communicate(timeout=300)
    assert process.returncode == 0, progress

    document = json.loads(out.read_text(encoding="utf-8"))
    decisions = [Decision.model_validate(each) for each in document["decisions"]]
    assert len(decisions) == 16
    assert document["agreement"] >= 10, table  # all "allow" agrees with ten: worse than that, the models are broken
    assert {"filtered", "refined"} == {decision.route for decision in decisions}
    assert f"{document['agreement']} of 16 verdicts agree" in table
    assert all(clip.name in table for clip in (BUNDLED / "clips").glob("*.mp4"))
    assert "/docs" in progress
    assert leftovers(tmp_path / "data") == []


def test_moderate_asks_what_is_running(stack: Stack, violation: Path, tmp_path: Path) -> None:
    environment = {**without_settings(os.environ), "WINNOW_URL": stack.gateway}
    asked = subprocess.run(
        [*WINNOW, "moderate", str(violation), "--json"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert asked.returncode == 0, asked.stderr
    assert Decision.model_validate_json(asked.stdout).media is not None

    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    asked = subprocess.run(
        [*WINNOW, "moderate", str(broken)], check=False, capture_output=True, text=True, env=environment, timeout=120
    )
    assert asked.returncode == 1
    assert "broken.mp4" in asked.stderr


def test_up_serves_until_ctrl_c_and_then_leaves_nothing_running(tmp_path: Path, violation: Path) -> None:
    gateway, router, ranker = free_ports(3)
    command = [
        *WINNOW, "up", "--data-dir", str(tmp_path), "--port", str(gateway), "--router-port", str(router),
        "--ranker-port", str(ranker),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=without_settings(os.environ),
    ) as process:  # fmt: skip
        try:
            _wait_ready(f"http://127.0.0.1:{gateway}", process)
            with violation.open("rb") as file:
                response = httpx.post(f"http://127.0.0.1:{gateway}/v1/decisions", files={"video": file}, timeout=60)
            assert response.status_code == 200
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, progress = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 0, progress
    assert "Traceback" not in progress
    assert leftovers(tmp_path) == []


def _wait_ready(gateway: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "winnow up ended by itself"
        try:
            if httpx.get(f"{gateway}/health/ready", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError("winnow up did not get ready")
