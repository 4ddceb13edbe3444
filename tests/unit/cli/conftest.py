"""A small service for the supervisor, which serves the two health routes and nothing else, and a directory of seeds."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.bank import Bank
from tests.web import serving_in_thread
from winnow.child import ServiceSpec
from winnow.supervisor import free_port

SERVICE = """
import http.server, json, os, signal, subprocess, sys, threading, time
port, trace = int(sys.argv[1]), sys.argv[2]
name = os.environ["SERVICE_NAME"]
missing = json.loads(os.environ.get("MISSING", "{}"))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "unavailable" if missing else "ok", "missing": missing}).encode()
        self.send_response(503 if missing and self.path == "/health/ready" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
def note(what):
    with open(trace, "a") as out: out.write(f"{name} {what}\\n")
if os.environ.get("DIE"):
    print("address already in use", flush=True)
    sys.exit(3)
if os.environ.get("WORKER"):
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note(f"worker {worker.pid}")
def stop(*_):
    time.sleep(float(os.environ.get("SLOW_STOP", "0")))
    note("stopped")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
note(f"started {os.getpid()}")
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class Services:
    """Builds specs of the small service, and reads what the services wrote down."""

    def __init__(self, directory: Path) -> None:
        self.script = directory / "service.py"
        self.script.write_text(SERVICE, encoding="utf-8")
        self.trace = directory / "trace.txt"

    def spec(self, name: str, **environment: str) -> ServiceSpec:
        port = free_port()
        command = [sys.executable, "-S", str(self.script), str(port), str(self.trace)]
        return ServiceSpec(
            name, command, f"http://127.0.0.1:{port}", {**os.environ, "SERVICE_NAME": name, **environment}
        )

    def notes(self) -> list[str]:
        return self.trace.read_text(encoding="utf-8").splitlines() if self.trace.exists() else []

    def pids(self, what: str) -> list[int]:
        return [int(note.split()[-1]) for note in self.notes() if note.split()[1] == what]


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(tmp_path)


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    directory = tmp_path / "seeds"
    directory.mkdir()
    rows = [
        {"path": "a.mp4", "issue": "arson", "kind": "golden", "start_s": 0.5, "end_s": 2.0},
        {"path": "b.mp4", "issue": "smoking", "kind": "negative", "start_s": 0.0, "end_s": None},
    ]
    (directory / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    for each in rows:
        (directory / str(each["path"])).write_bytes(b"video")
    return directory


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    """The bank behind a gateway that the commands find by themselves; their data directory is the test's."""
    bank = Bank(tmp_path / "spool")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    with serving_in_thread(bank.app) as url:
        monkeypatch.setenv("WINNOW_URL", url)
        yield bank


@pytest.fixture
def server(gateway: Bank) -> str:
    """Where the bank of `gateway` is served."""
    assert gateway is not None
    return os.environ["WINNOW_URL"]
