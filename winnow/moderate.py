"""`winnow moderate`: asks a running gateway about files."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from services.clients import GatewayClient
from services.contracts import Decision, ModerationRequest
from services.deadline import Deadline
from services.errors import WinnowError

ADVICE = {
    "not_ready": "Start the services with `winnow up`, or name a running gateway with --url.",
    "unauthorized": "Put the gateway's token into WINNOW_TOKEN.",
    "not_found": "This address is not a Winnow gateway; check --url.",
    "unknown_issue": "`GET /v1/policy` of the gateway lists the issues; without --issue all are judged.",
    "not_a_video": "Send a video file, e.g. MP4 or WebM.",
    "no_video_stream": "Send a file that has pictures, not sound alone.",
    "empty_video": "The file is empty; send it again from its source.",
    "truncated_video": "The file ends early; send it again from its source.",
    "undecodable_video": "The file is damaged, or of a codec that is not supported; re-encode it, e.g. as H.264.",
    "video_refused": "Send a smaller or shorter video.",
    "too_large": "Send a smaller video, or raise WINNOW_GATEWAY_MAX_VIDEO_BYTES.",
    "overloaded": "Try again in a moment.",
    "deadline_exceeded": "Give more time with --timeout.",
    "storage_full": "Free disk space where the gateway keeps its spool.",
}


@dataclass(frozen=True)
class Outcome:
    """What came of one file: a decision, or an error; and the seconds it took."""

    path: Path
    decision: Decision | None
    error: str | None
    seconds: float


async def moderate(
    paths: Sequence[Path], request: ModerationRequest, *, url: str, token: SecretStr | None, timeout_s: float
) -> AsyncIterator[Outcome]:
    """Ask about each file in turn.

    Args:
        paths: video files.
        request: what is asked about each of them.
        url: of the gateway.
        token: of the gateway, where it asks for one.
        timeout_s: seconds for each file, upload included.
    """
    async with GatewayClient(url, token=token) as client:
        for path in paths:
            started = time.perf_counter()
            decision, error = None, None
            try:
                decision = await client.moderate(path, request, Deadline.after(timeout_s))
            except WinnowError as problem:
                error = explain(problem)
            except OSError as problem:
                error = f"The file cannot be read: {problem.strerror or problem}."
            yield Outcome(path, decision, error, time.perf_counter() - started)


def explain(error: WinnowError) -> str:
    """What went wrong, in which field, and what to do about it."""
    fields = [f"{each.pointer}: {each.detail}" for each in error.errors]
    advice = ADVICE.get(error.code, "Try again." if error.retryable else "")
    return " ".join(part for part in (error.detail, *fields, advice) if part)
