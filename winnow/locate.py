"""Where the data lies, which run holds it, and how another command finds the gateway of `winnow up`."""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import platformdirs
from pydantic import ValidationError

from services.contracts import RequestModel
from winnow.stack import Ports, url
from winnow.supervisor import SupervisorError, unusable

STATE_FILE = "up.json"
LOCK_FILE = "up.lock"
ADVICE = "Choose another directory with --data-dir."
LOOKED_AT_S = 0.2
"""A command that looks for the gateway has the lock for a moment; longer than this, it is another run."""


class UpState(RequestModel):
    """What a running `winnow up` tells other commands."""

    pid: int
    gateway_url: str


def default_data_dir() -> Path:
    """The user's data directory for this program, by the rules of the operating system."""
    return Path(platformdirs.user_data_dir("winnow", appauthor=False))


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Make the data directory and keep it for this process: the system lets go of it however the process ends.

    Raises:
        SupervisorError: another run holds it, or it cannot be used.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / LOCK_FILE).open("a+", encoding="ascii")
    except OSError as error:
        raise unusable(data_dir, error, ADVICE) from error
    with lock:
        if not _locked(lock):
            lock.seek(0)
            raise SupervisorError(
                f"The data directory {data_dir} is used by process {lock.read().strip()}. "
                "Stop that one, or choose another directory with --data-dir."
            )
        try:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            # A run that crashed has left its own.
            (data_dir / STATE_FILE).unlink(missing_ok=True)
        except OSError as error:
            raise unusable(data_dir, error, ADVICE) from error
        yield


def _locked(lock: IO[str]) -> bool:
    until = time.monotonic() + LOOKED_AT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        else:
            return True


def is_held(data_dir: Path) -> bool:
    """Whether a run holds the data directory now."""
    try:
        with (data_dir / LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_state(data_dir: Path, gateway_url: str) -> Path:
    """Say that this process serves `gateway_url`; the file is for its owner alone and is removed by the caller."""
    path = data_dir / STATE_FILE
    try:
        path.write_text(UpState(pid=os.getpid(), gateway_url=gateway_url).model_dump_json(), encoding="utf-8")
    except OSError as error:
        raise unusable(path, error, ADVICE) from error
    return path


def read_state(data_dir: Path) -> UpState | None:
    """The state of the `winnow up` that runs on this data directory, or None where none does."""
    if not is_held(data_dir):
        return None
    try:
        return UpState.model_validate_json((data_dir / STATE_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def gateway_url(given: str | None, environment: Mapping[str, str], data_dir: Path) -> str:
    """The gateway to ask: the one named, then WINNOW_URL, then the running `winnow up`, then the default port.

    Raises:
        ValueError: what is named is not the URL of an HTTP server.
    """
    named = given if given is not None else environment.get("WINNOW_URL")
    if named:
        return server_url(named, "gateway", url(Ports().gateway))
    state = read_state(data_dir)
    return state.gateway_url if state is not None else url(Ports().gateway)


def server_url(named: str, service: str, example: str) -> str:
    """`named`, which must be the URL of an HTTP server.

    Raises:
        ValueError: it is not; the message names the service and the example.
    """
    try:
        parsed = httpx.URL(named)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError(f"{named!r} is not the URL of a {service}: name one such as {example}.")
    return named
