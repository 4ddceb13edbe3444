"""One service as a child process: how it is started, asked for its health, stopped, and never left behind."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import ValidationError

from services.contracts import Health

HEALTH_TIMEOUT_S = 2.0
POLL_S = 0.05
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ServiceSpec:
    """What to start, where it will listen, its whole environment, and what it does before it listens."""

    name: str
    command: Sequence[str]
    url: str
    environment: Mapping[str, str]
    starting: str = "starting"


class Child:
    """A running service. It leads a process group of its own, so that Ctrl-C does not reach it before its turn."""

    def __init__(self, spec: ServiceSpec, log_dir: Path) -> None:
        self.spec = spec
        self.log_path = log_dir / f"{spec.name}.log"
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                list(spec.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(spec.environment),
                start_new_session=True,
                # Services are started before this process has threads, and the function makes two system calls.
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509
            )

    @property
    def pid(self) -> int:
        """Process id, which is the id of its process group too."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Exit code of a process that has ended (minus the signal's number where one ended it), else None."""
        return _exit_code(self._process)

    def missing(self) -> dict[str, str]:
        """What `/health/ready` still misses; empty when the service is ready."""
        try:
            answer = httpx.get(f"{self.spec.url}/health/ready", timeout=HEALTH_TIMEOUT_S, trust_env=False)
            health = Health.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError):
            return {"process": self.spec.starting}
        if answer.status_code == httpx.codes.OK:
            return {}
        return health.missing or {"process": health.status}

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log, as people read them."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(map(readable, text.splitlines()[-lines:]))

    def stop(self, grace_s: float) -> bool:
        """SIGTERM, up to `grace_s` seconds to finish, then SIGKILL; returns whether it went by itself."""
        until = time.monotonic() + grace_s
        if self.exit_code() is None:
            os.kill(self.pid, signal.SIGTERM)
        while self.exit_code() is None and time.monotonic() < until:
            time.sleep(POLL_S)
        went = self.exit_code() is not None
        self.kill()
        return went

    def kill(self) -> None:
        """SIGKILL the whole group, workers that a dead service left behind included, and reap the service."""
        if self._process.returncode is None:
            # A zombie that was not reaped keeps its id, so the group cannot belong to anyone else.
            # macOS answers EPERM for a group whose only member is a zombie.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def readable(line: str) -> str:
    """A JSON log line as `LEVEL message`, followed by its exception where it has one; any other line as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "msg" not in entry:
        return line
    parts = (f"{entry.get('level', '')} {entry['msg']}".strip(), entry.get("exception"))
    return "\n".join(str(part) for part in parts if part)


def _exit_code(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code without reaping the process, where the platform can tell it so."""
    if process.returncode is not None or not hasattr(os, "waitid"):
        return process.poll()
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child runs before its program, so that it is told to stop when its parent dies; Linux only."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
