"""`winnow demo` and `winnow up` as processes, with the real gateway and small stand-ins for router and ranker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from services.policy import default_policy_path, load_policy
from winnow.locate import read_state
from winnow.supervisor import free_ports, port_is_free

REPOSITORY = Path(__file__).parents[3]

ROUTER = """
import os
from datetime import UTC, datetime
from pathlib import Path
import uvicorn
from fastapi import Request
from services.contracts import BankStatus, Seed, SeedRequest
from services.policy import default_policy_path, load_policy
from services.web import parse_part, receive_upload
from tests.integration.gateway.conftest import StandInRouter

spool = Path(os.environ["WINNOW_ROUTER_DATA_DIR"]) / "router-spool"
ids = load_policy(default_policy_path()).issue_ids
router = StandInRouter(spool, risks={each: 0.1 for each in ids} | {"arson": 0.9}, ranks={"arson": 0.95})
if os.environ.get("STAND_IN_WITHOUT_RANKER"):
    router.ranks, router.rank_missing = None, "unavailable"
app, seeds = router.app(), []

@app.get("/v1/bank")
async def bank() -> BankStatus:
    return BankStatus(revision="r", encoder="e", seeds={}, vectors=len(seeds))

@app.post("/v1/seeds")
async def add(request: Request) -> Seed:
    (spool.parent / "seen.txt").write_text(request.headers.get("Authorization", "none"))
    async with await receive_upload(
        request, spool_dir=spool, max_video_bytes=10**6, max_json_bytes=10**6, timeout_s=5
    ) as upload:
        asked = parse_part(SeedRequest, upload.json)
    seeds.append(asked)
    given = {"id": f"{len(seeds):032x}", "end_s": 2.0, "sha256": upload.sha256, "vectors": 1, "version": 1}
    given |= dict.fromkeys(("created_at", "updated_at"), datetime.now(UTC))
    given |= dict.fromkeys(("created_by", "updated_by"), "local")
    return Seed(issue=asked.issue, kind=asked.kind, state="active", share=1.0, start_s=0, **given)

uvicorn.run(app, port=int(os.environ["WINNOW_ROUTER_PORT"]), log_config=None)
"""

RANKER = """
import os
import uvicorn
from fastapi import FastAPI

app = FastAPI()

@app.get("/health/ready")
async def ready() -> dict[str, str]:
    return {"status": "ok"}

uvicorn.run(app, port=int(os.environ["WINNOW_RANKER_PORT"]), log_config=None)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory in which `python -m router_svc` and `ranker_svc` are the stand-ins, with two clips and a seed."""
    for name, code in (("router_svc", ROUTER), ("ranker_svc", RANKER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "__main__.py").write_text(code, encoding="utf-8")
    rows: dict[str, list[dict[str, Any]]] = {
        "clips": [
            {"path": "fire.mp4", "kind": "violation", "issues": ["arson"], "title": "A house"},
            {"path": "sun.mp4", "kind": "other", "issues": [], "title": "The sun"},
        ],
        "seeds": [{"path": "seed.mp4", "issue": "arson", "kind": "golden", "start_s": 0.0, "end_s": 2.0}],
    }
    for folder, manifest in rows.items():
        (tmp_path / "bundled" / folder).mkdir(parents=True)
        lines = "\n".join(json.dumps(row) for row in manifest)
        (tmp_path / "bundled" / folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
        for row in manifest:
            (tmp_path / "bundled" / folder / row["path"]).write_bytes(b"frames")
    return tmp_path


def winnow(place: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    # Coming first on the path, the working directory's stand-ins hide the real packages.
    given = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    command = [sys.executable, "-m", "winnow", *arguments]
    return subprocess.Popen(
        command, cwd=place, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def test_the_demo_from_nothing_to_its_table(place: Path) -> None:
    process = winnow(place, "demo", "--bundled", "bundled")
    table, progress = process.communicate(timeout=120)
    assert process.returncode == 0, progress
    fire, sun = (next(line.split() for line in table.splitlines() if line.startswith(each)) for each in ("fire", "sun"))
    threshold = f"{load_policy(default_policy_path()).issue('arson').router.threshold:.2f}"
    assert fire[:9] == ["fire.mp4", "arson", "block", "arson", "refined", "0.90", "/", threshold, "0.95"]
    assert (fire[-1], sun[-1]) == ("yes", "no")
    assert "1 of 2 verdicts agree" in table
    assert "/docs" in progress
    assert "1 seeds loaded" in progress
    document = json.loads((place / "build" / "demo.json").read_text(encoding="utf-8"))
    assert document["agreement"] == 1
    assert [each["verdict"] for each in document["decisions"]] == ["block", "block"]
    assert "Had to be killed" not in progress


def test_a_demo_without_a_ranker_fails(place: Path) -> None:
    process = winnow(place, "demo", "--bundled", "bundled", STAND_IN_WITHOUT_RANKER="1")
    _, progress = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "degraded" in progress
    assert not (place / "build" / "demo.json").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_it_is_told_to_stop(place: Path, how: signal.Signals) -> None:
    gateway, router, ranker = map(str, free_ports(3))
    ports = ("--port", gateway, "--router-port", router, "--ranker-port", ranker)
    process = winnow(place, "up", "--data-dir", "data", "--seeds", "bundled/seeds", *ports)
    until = time.monotonic() + 90
    while read_state(place / "data") is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)
    asked = winnow(place, "moderate", "bundled/clips/fire.mp4", "--data-dir", "data", "--json")
    answer, said = asked.communicate(timeout=60)
    assert asked.returncode == 0, said
    assert json.loads(answer)["verdict"] == "block"
    second = winnow(place, "up", "--data-dir", "data", *ports)
    assert "is used by process" in " ".join(second.communicate(timeout=60)[1].split())
    assert second.returncode == 1
    process.send_signal(how)
    _, progress = process.communicate(timeout=60)
    assert process.returncode == 0, progress
    assert all(port_is_free(int(port)) for port in (gateway, router, ranker))
    assert not (place / "data" / "up.json").exists()


def said_at_start(process: "subprocess.Popen[str]") -> str:
    """What `winnow up` prints until it serves."""
    assert process.stderr is not None
    said = ""
    while "Ctrl-C stops" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def test_up_leaves_a_bank_of_ones_own_empty_and_serves(place: Path) -> None:
    gateway, router, ranker = map(str, free_ports(3))
    ports = ("--port", gateway, "--router-port", router, "--ranker-port", ranker)
    process = winnow(place, "up", "--data-dir", "data", *ports, QDRANT_URL="http://127.0.0.1:1")
    said = said_at_start(process)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "The bank is empty: add seeds with winnow seeds add or import, or start with --seeds DIR" in said
    assert "Not ready without seeds" in said


def test_up_asks_for_keys_where_it_is_given_some(place: Path) -> None:
    gateway, router, ranker = map(str, free_ports(3))
    ports = ("--port", gateway, "--router-port", router, "--ranker-port", ranker)
    making = winnow(place, "keys", "new", "--id", "me", "--file", "keys.yaml")
    key, _ = making.communicate(timeout=60)
    process = winnow(
        place, "up", "--data-dir", "data", "--seeds", "bundled/seeds", *ports, WINNOW_GATEWAY_API_KEYS_PATH="keys.yaml"
    )
    said_at_start(process)
    asking = ("moderate", "bundled/clips/fire.mp4", "--data-dir", "data")
    refused, asked = winnow(place, *asking), winnow(place, *asking, WINNOW_API_KEY=key.strip())
    _, why = refused.communicate(timeout=60)
    answer, _ = asked.communicate(timeout=60)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert (refused.returncode, asked.returncode) == (1, 0)
    assert "Put an API key of the gateway into WINNOW_API_KEY." in " ".join(why.split())
    assert "block" in answer
    assert key.strip() not in (place / "data" / "logs" / "gateway.log").read_text(encoding="utf-8")


def test_up_shows_the_router_the_token_that_it_asks_for(place: Path) -> None:
    gateway, router, ranker = map(str, free_ports(3))
    ports = ("--port", gateway, "--router-port", router, "--ranker-port", ranker)
    process = winnow(
        place, "up", "--data-dir", "data", "--seeds", "bundled/seeds", *ports,
        WINNOW_ROUTER_SERVICE_TOKEN="router-token",
    )  # fmt: skip
    said = said_at_start(process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert "1 seeds loaded" in said
    assert (place / "data" / "seen.txt").read_text(encoding="utf-8") == "Bearer router-token"
