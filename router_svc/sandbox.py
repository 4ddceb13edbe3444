"""What a decoder process gives up before it sees a video: descriptors, environment, memory, priority, system calls."""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from router_svc.seccomp import install_decoder_filter

Confinement = Literal["required", "preferred", "off"]
"""`required`: no decoder starts without the filter of system calls. `preferred`: it starts, and the log says so."""

_OPEN_FILES = 16
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OOM_SCORE = "500"  # of -1000 to 1000: where memory runs out, the kernel ends a decoder and not the service


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits of a decoder process; CPU and wall time are limited for each video.

    Attributes:
        memory_bytes: address space.
        nice: added to the niceness of the service, 0 to 19.
        confinement: whether the filter of system calls is installed.
    """

    memory_bytes: int
    nice: int = 0
    confinement: Confinement = "preferred"


def enter(limits: WorkerLimits, keep: int) -> str | None:
    """Lowers this process for good; it must have one thread and nothing left to import.

    Args:
        limits: what it may use.
        keep: the one descriptor that stays open, besides the standard streams, which lead to /dev/null from now on.

    Returns:
        None where the kernel filters its system calls, else the reason why it does not.
    """
    _die_with_parent()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    os.environ.clear()
    os.nice(limits.nice)
    _close_all_but(keep)
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _lower(kind, value)
    return "switched off" if limits.confinement == "off" else install_decoder_filter()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _close_all_but(keep: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    top = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20)
    os.closerange(3, keep)
    os.closerange(keep + 1, top)


def _lower(kind: int, value: int) -> None:
    """Lowers soft and hard limit, for good; a hard limit that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (lowest, lowest))
