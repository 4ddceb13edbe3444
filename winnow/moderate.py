"""`winnow moderate`: asks a running gateway about files and URLs."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from services.clients import GatewayClient
from services.contracts import Decision, ModerationRequest
from services.deadline import Deadline
from services.errors import WinnowError

ADVICE = {
    "not_ready": "Start the services with `winnow up`, or name a running gateway with --url.",
    "unauthorized": "Put an API key of the gateway into WINNOW_API_KEY.",
    "forbidden": "Use a key that has the scope, or ask from the gateway's own machine.",
    "url_refused": "Name a public http or https URL that leads to the video itself.",
    "source_refused": "Check that the URL leads to the video itself, without a login.",
    "fetch_failed": "Try again when the server of the URL is well.",
    "fetch_timeout": "Try again, or download the video and send the file.",
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
    """What came of one file or URL: a decision, or an error; and the seconds it took."""

    source: str
    decision: Decision | None
    error: str | None
    seconds: float


async def moderate(
    sources: Sequence[str], request: ModerationRequest, *, url: str, api_key: SecretStr | None, timeout_s: float
) -> AsyncIterator[Outcome]:
    """Ask about each video in turn.

    Args:
        sources: files, and URLs, which the gateway fetches.
        request: what is asked about each of them.
        url: of the gateway.
        api_key: for the gateway, where it asks for one.
        timeout_s: seconds for each video, upload or fetch included.
    """
    async with GatewayClient(url, api_key=api_key) as client:
        for source in sources:
            started = time.perf_counter()
            decision, error = None, None
            try:
                deadline = Deadline.after(timeout_s)
                if is_url(source):
                    named = ModerationRequest.model_validate({**request.model_dump(), "url": source})
                    decision = await client.moderate_url(named, deadline)
                else:
                    decision = await client.moderate(Path(source), request, deadline)
            except ValidationError as problem:
                error = f"The URL cannot be used: {problem.errors()[0]['msg']}."
            except WinnowError as problem:
                error = explain(problem)
            except OSError as problem:
                error = f"The file cannot be read: {problem.strerror or problem}."
            yield Outcome(source, decision, error, time.perf_counter() - started)


def is_url(source: str) -> bool:
    """Whether an argument is the URL of a video rather than a file."""
    return source.lower().startswith(("http://", "https://"))


def short_name(source: str) -> str:
    """What a table calls a video: the last part of its path, without the query of a URL."""
    if is_url(source):
        source = source.partition("#")[0].partition("?")[0].rstrip("/")
    return Path(source).name


def explain(error: WinnowError) -> str:
    """What went wrong, in which field, and what to do about it."""
    fields = [f"{each.pointer}: {each.detail}" for each in error.errors]
    advice = ADVICE.get(error.code, "Try again." if error.retryable else "")
    return " ".join(part for part in (error.detail, *fields, advice) if part)
