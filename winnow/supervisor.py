"""Starts services in order, waits until all are ready, watches them, and stops them in order."""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from winnow.child import Child, ServiceSpec

Progress = Callable[[dict[str, dict[str, str]]], None]
"""Called while waiting, with what each service still misses."""


class SupervisorError(Exception):
    """The services could not be started or kept running; the message says what happened and what to do."""


def unusable(path: Path, error: OSError, advice: str) -> SupervisorError:
    """The error for a path of the operator's that cannot be used."""
    # mkdir says "File exists" where a file is in the way.
    reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror or error
    where = error.filename or path
    return SupervisorError(f"{where} cannot be used: {reason}. {advice}")


class Supervisor:
    """A context manager around the services: those it started are gone when it exits.

    Args:
        specs: the services, in the order in which they are started; they are stopped in the reverse order, so that the
            one nearest the client finishes its work while those it needs still run.
        log_dir: where each service's output goes, as `<name>.log`.
        grace_s: seconds that each service has to finish its work after SIGTERM.
    """

    def __init__(self, specs: Sequence[ServiceSpec], *, log_dir: Path, grace_s: float = 30.0) -> None:
        self._specs = specs
        self._log_dir = log_dir
        self._grace_s = grace_s
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        try:
            self._log_dir.mkdir(parents=True, exist_ok=True)
            for spec in self._specs:
                self.children.append(Child(spec, self._log_dir))
        except OSError as error:
            self.stop()
            raise unusable(self._log_dir, error, "Make it writable, or choose another --data-dir.") from error
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def wait_ready(
        self,
        *,
        timeout_s: float,
        progress: Progress | None = None,
        tolerated: Mapping[str, Set[str]] = MappingProxyType({}),
        poll_s: float = 0.2,
    ) -> None:
        """Return when every service is ready, but for what is tolerated.

        Args:
            timeout_s: seconds until it gives up.
            progress: told what each service still misses.
            tolerated: what each service may still miss, by name.
            poll_s: seconds between two looks.

        Raises:
            SupervisorError: a service ended, or is not ready after `timeout_s` seconds.
        """
        until = time.monotonic() + timeout_s
        while True:
            self.check()
            missing = {
                child.spec.name: _without(child.missing(), tolerated.get(child.spec.name, frozenset()))
                for child in self.children
            }
            if progress is not None:
                progress(missing)
            if not any(missing.values()):
                return
            if time.monotonic() >= until:
                raise SupervisorError(self._slow(missing, timeout_s))
            time.sleep(poll_s)

    def check(self) -> None:
        """Raise SupervisorError if a service has ended."""
        for child in self.children:
            code = child.exit_code()
            if code is not None:
                raise SupervisorError(
                    f"{child.spec.name} ended with {_ending(code)}. The end of its log ({child.log_path}):\n\n"
                    f"{child.log_tail() or '(empty)'}\n\nPut right what the log names and start again."
                )

    def watch(self, poll_s: float = 0.5) -> None:
        """Block until a service ends, and raise SupervisorError then; KeyboardInterrupt passes through."""
        while True:
            self.check()
            time.sleep(poll_s)

    def stop(self) -> list[str]:
        """Stop every service; return the names of those that had to be killed. A second Ctrl-C kills all at once."""
        killed = []
        try:
            while self.children:
                child = self.children[-1]
                if not child.stop(self._grace_s):
                    killed.append(child.spec.name)
                self.children.pop()
        except KeyboardInterrupt:
            killed += [child.spec.name for child in self.children]
            for child in self.children:
                child.kill()
            self.children.clear()
        return killed

    def _slow(self, missing: dict[str, dict[str, str]], timeout_s: float) -> str:
        lines = [f"Not ready after {timeout_s:g} s:"]
        for name, parts in missing.items():
            if parts:
                what = ", ".join(f"{part} ({why})" for part, why in parts.items())
                lines.append(f"  {name}: {what}; log {self._log_dir / f'{name}.log'}")
        return "\n".join([*lines, "Read the logs, or give more time with --timeout."])


def _without(missing: Mapping[str, str], tolerated: Set[str]) -> dict[str, str]:
    return {part: why for part, why in missing.items() if part not in tolerated}


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that were free a moment ago."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)


def port_is_free(port: int) -> bool:
    """Whether a service could listen on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
