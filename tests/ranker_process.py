"""`python -m ranker_svc`, or a program of a test around it, as a process: its address, its log, its children."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from tests.servers import free_port

START_S = 420.0
WAIT_S = 60.0


class RankerProcess:
    """A ranker that a test starts, asks, hurts and ends; nothing of it is left behind.

    Args:
        log: file that its standard error is written to.
        program: what Python runs.
        environment: variables beside those of this process.
        settings: of the ranker, names in lower case and without the prefix.
    """

    def __init__(
        self,
        log: Path,
        *,
        program: Sequence[str] = ("-m", "ranker_svc"),
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        variables = {f"WINNOW_RANKER_{name.upper()}": str(value) for name, value in {"port": port, **settings}.items()}
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                env={**os.environ, **(environment or {}), **variables},
                stderr=stderr,
                start_new_session=True,
            )
        self.client = httpx.Client(base_url=self.url, timeout=WAIT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()
        for child in self.others():
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def others(self) -> list[psutil.Process]:
        """What runs of its session beside it; those whose parent has died are among them."""
        return [each for each in psutil.process_iter() if each.pid != self.process.pid and self._has(each)]

    def _has(self, process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False

    def wait_ready(self) -> Self:
        wait_for(self._ready, START_S)
        return self

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def rank(self, body: dict[str, Any], *, deadline_ms: int = 60_000) -> httpx.Response:
        return self.client.post("/v1/rank", json=body, headers={"Winnow-Deadline-Ms": str(deadline_ms)})

    def metrics(self, accept: str = "text/plain") -> str:
        return self.client.get("/metrics", headers={"Accept": accept}).text

    def value(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels; 0 where there is none."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in self.metrics().splitlines() if line.partition(" ")[0].partition("{")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = WAIT_S) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def lines(self) -> list[dict[str, Any]]:
        """The log; every line has to be JSON."""
        return [json.loads(line) for line in self.log().splitlines()]

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")


def wait_for(holds: Callable[[], bool], seconds: float = WAIT_S) -> None:
    """Return when it holds; fail after so many seconds."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.05)
