"""Where the data of `winnow up` lies, and how another command finds the gateway that it started."""

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs
from pydantic import ValidationError

from services.contracts import RequestModel
from winnow.stack import Ports, url

STATE_FILE = "up.json"


class UpState(RequestModel):
    """What a running `winnow up` tells other commands."""

    pid: int
    gateway_url: str


def default_data_dir() -> Path:
    """The user's data directory for this program, by the rules of the operating system."""
    return Path(platformdirs.user_data_dir("winnow", appauthor=False))


def write_state(data_dir: Path, gateway_url: str) -> Path:
    """Say that this process serves `gateway_url`; the file is for its owner alone and is removed by the caller."""
    path = data_dir / STATE_FILE
    path.write_text(UpState(pid=os.getpid(), gateway_url=gateway_url).model_dump_json(), encoding="utf-8")
    return path


def read_state(data_dir: Path) -> UpState | None:
    """The state of the `winnow up` that runs on this data directory, or None where none does."""
    try:
        state = UpState.model_validate_json((data_dir / STATE_FILE).read_bytes())
        os.kill(state.pid, 0)
    except (OSError, ValidationError):
        return None
    return state


def gateway_url(given: str | None, environment: Mapping[str, str], data_dir: Path) -> str:
    """The gateway to ask: the one named, then WINNOW_URL, then the running `winnow up`, then the default port."""
    if given:
        return given
    if environment.get("WINNOW_URL"):
        return environment["WINNOW_URL"]
    state = read_state(data_dir)
    return state.gateway_url if state is not None else url(Ports().gateway)
