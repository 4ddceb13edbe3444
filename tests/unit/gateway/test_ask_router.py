"""Which answers of the router are retried, which go to the client, and which become a fail mode."""

from pathlib import Path

import pytest

from gateway.ask_router import ABOUT_THE_VIDEO, RouterCaller
from services.contracts import MediaFacts, PolicySlice, RouteRequest, RouteResult
from services.deadline import Deadline
from services.errors import (
    DeadlineExceeded,
    DigestMismatch,
    Internal,
    Overloaded,
    RouterUnavailable,
    UnsupportedMedia,
    WinnowError,
)

REQUEST = RouteRequest(
    sha256="0" * 64,
    policy=PolicySlice.model_validate(
        {
            "policy_hash": "0" * 12,
            "issues": [{"id": "a", "name": "a", "definition": "a", "router_threshold": 0.5}],
        }
    ),
)
RESULT = RouteResult(
    media=MediaFacts(
        duration_s=1, width=2, height=2, fps=1, video_codec="h264", container="mov", has_audio=False, size_bytes=1
    ),
    frame_times_s=(),
    encoder="e",
    bank_revision="b",
    issues=(),
)


class Scripted:
    """A router that gives its answers in order."""

    def __init__(self, *answers: WinnowError | RouteResult) -> None:
        self.answers = list(answers)

    async def route(self, path: Path, request: RouteRequest, deadline: Deadline) -> RouteResult:
        answer = self.answers.pop(0)
        if isinstance(answer, WinnowError):
            raise answer
        return answer


async def ask(router: Scripted, deadline_s: float = 10.0) -> tuple[RouteResult | None, str]:
    routed = await RouterCaller(router, attempts=2).ask(Path("v"), REQUEST, Deadline.after(deadline_s))
    return routed.result, routed.missing


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (RouterUnavailable("x", retry_after_s=0.0), "unavailable"),
        (Overloaded("x", retry_after_s=0.0), "overloaded"),
        (DigestMismatch("x", retry_after_s=0.0), "failed"),
    ],
)
async def test_a_passing_failure_is_asked_once_more(error: WinnowError, missing: str) -> None:
    assert await ask(Scripted(error, RESULT)) == (RESULT, "")
    router = Scripted(error, error, RESULT)
    assert await ask(router) == (None, missing)
    assert router.answers == [RESULT]


async def test_a_lasting_failure_is_not_asked_again() -> None:
    router = Scripted(Internal("x"), RESULT)
    assert await ask(router) == (None, "failed")
    assert router.answers == [RESULT]


async def test_a_wait_that_would_eat_the_deadline_is_not_waited() -> None:
    router = Scripted(Overloaded("x", retry_after_s=30.0), RESULT)
    assert await ask(router, deadline_s=10.0) == (None, "overloaded")
    assert router.answers == [RESULT]


@pytest.mark.parametrize("kind", [*ABOUT_THE_VIDEO, DeadlineExceeded])
async def test_what_the_client_should_hear_is_passed_on(kind: type[WinnowError]) -> None:
    with pytest.raises(kind):
        await ask(Scripted(kind("x"), RESULT))


async def test_a_passed_deadline_asks_nobody() -> None:
    router = Scripted(UnsupportedMedia("x"))
    with pytest.raises(DeadlineExceeded):
        await ask(router, deadline_s=0.0)
    assert len(router.answers) == 1
