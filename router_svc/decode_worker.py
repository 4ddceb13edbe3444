"""What runs inside a decoder process. It imports the decoder and nothing else of the service: no torch, no web."""

import resource
from dataclasses import dataclass
from pathlib import Path

from services.errors import VideoRefused
from services.media.decode import DecodedVideo, decode_frames
from services.media.limits import MediaLimits
from services.media.sampling import SamplingPlan

_OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits of a decoder process: address space, bytes. CPU time is limited for each video."""

    memory_bytes: int


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """One video to decode; see services.media.decode.decode_frames."""

    path: Path
    plan: SamplingPlan
    short_side: int
    limits: MediaLimits
    cpu_s: int
    start_s: float = 0.0
    end_s: float | None = None


def start_worker(limits: WorkerLimits) -> None:
    """Initializer of a decoder process: its kernel limits."""
    _lower(resource.RLIMIT_AS, limits.memory_bytes)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_CORE, 0)
    # Decoding reads one file and writes none.
    _lower(resource.RLIMIT_FSIZE, 0)


def decode_task(job: DecodeJob) -> DecodedVideo:
    """Decodes one video within its own CPU time."""
    limit_cpu(job.cpu_s)
    try:
        return decode_frames(
            job.path,
            plan=job.plan,
            short_side=job.short_side,
            limits=job.limits,
            start_s=job.start_s,
            end_s=job.end_s,
        )
    except MemoryError as error:
        raise VideoRefused("Decoding the video needs more memory than is allowed.") from error


def limit_cpu(seconds: int) -> None:
    """Gives the process this much CPU time from now on; the kernel kills it after that."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + 1 + seconds)


def warm() -> None:
    """Does nothing: the process has imported all it needs once this has run."""


def _lower(kind: int, value: int) -> None:
    """Sets a soft limit, never above the hard one; a soft limit can be moved again for the next video."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
