"""Asks running gateways about many videos: bounded, resumable, with progress, and strict about what is missing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from offline.evaluation.store import Store
from services.clients import GatewayClient
from services.contracts import Decision, ModerationRequest
from services.deadline import Deadline
from services.errors import (
    EmptyVideo,
    NoVideoStream,
    TooLarge,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
    WinnowError,
)

CALL_SECONDS = 120.0
ATTEMPTS = 3
RETRY_AFTER_S = 0.5
ABOUT_THE_VIDEO = (
    EmptyVideo,
    NoVideoStream,
    TooLarge,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
)
"""Refusals that another video would not meet; any other error ends the run."""


class TooManyMissing(RuntimeError):
    """So many videos have no decision that figures from the rest would mislead."""


@dataclass(frozen=True)
class Question:
    """One call of a gateway. `id` is unique in a run."""

    id: str
    file: Path
    request: ModerationRequest
    url: str


@dataclass(frozen=True)
class Answers:
    """Decisions by question, and why others have none, by question."""

    decisions: Mapping[str, Decision]
    missing: Mapping[str, str] = field(default_factory=dict)


OnWindow = Callable[[Sequence[tuple[Question, Decision]]], Awaitable[None]]
"""Told the questions of a window and their decisions, when all of them are there and nothing else runs."""


async def ask_all(
    questions: Sequence[Question],
    console: Console,
    *,
    what: str,
    store: Store | None = None,
    concurrency: int = 3,
    allowed_missing: int = 0,
    window: int | None = None,
    on_window: OnWindow | None = None,
    api_key: SecretStr | None = None,
) -> Answers:
    """The decisions about all questions, a few at a time; those that the store has are not asked again.

    Args:
        questions: of one run.
        console: where progress goes.
        what: names the run in the progress bar.
        store: keeps every decision as it comes.
        concurrency: most calls at a time.
        allowed_missing: videos that may be refused, or be decided without a stage, before the run ends.
        window: questions that are asked together, with nothing else running before and after; all of them if None.
        on_window: told after every window that asked anything.
        api_key: where a gateway asks for one.

    Raises:
        TooManyMissing: more than `allowed_missing` videos have no decision; the message names the first.
        WinnowError: a gateway cannot be asked, or refuses what has nothing to do with the video.
        OSError: a video cannot be read.
    """
    decisions: dict[str, Decision] = {}
    missing: dict[str, str] = {}
    left = []
    for question in questions:
        known = store.find(question) if store is not None else None
        if known is None:
            left.append(question)
        else:
            decisions[question.id] = known
    slots = asyncio.Semaphore(concurrency)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with AsyncExitStack() as stack:
        clients = {
            url: await stack.enter_async_context(GatewayClient(url, api_key=api_key))
            for url in {question.url for question in left}
        }
        progress = stack.enter_context(Progress(*columns, console=console))
        task = progress.add_task(what, total=len(questions), completed=len(decisions))

        async def ask(question: Question) -> None:
            async with slots:
                try:
                    decision = await _decided(clients[question.url], question)
                except ABOUT_THE_VIDEO as error:
                    missing[question.id] = f"{question.file.name}: {error.detail}"
                    decision = None
            if decision is not None and decision.route == "degraded":
                missing[question.id] = f"{question.file.name} was decided without {_absent(decision)}"
            elif decision is not None:
                decision = slim(decision)
                if store is not None:
                    store.add(question, decision)
                decisions[question.id] = decision
            if len(missing) > allowed_missing:
                raise TooManyMissing(
                    f"{len(missing)} of {len(decisions) + len(missing)} videos have no decision to be counted; the "
                    f"first: {next(iter(missing.values()))}"
                )
            progress.advance(task)

        size = window or max(len(left), 1)
        for start in range(0, len(left), size):
            together = left[start : start + size]
            try:
                async with asyncio.TaskGroup() as group:
                    for question in together:
                        group.create_task(ask(question))
            except ExceptionGroup as errors:  # the others were cancelled for it
                raise errors.exceptions[0] from errors
            if on_window is not None:
                await on_window([(q, decisions[q.id]) for q in together if q.id in decisions])
    return Answers({q.id: decisions[q.id] for q in questions if q.id in decisions}, missing)


def slim(decision: Decision) -> Decision:
    """A decision without the seeds that are its evidence: most of its bytes, and nothing that is counted."""
    issues = tuple(issue.model_copy(update={"evidence": ()}) for issue in decision.issues)
    return decision.model_copy(update={"issues": issues})


async def _decided(client: GatewayClient, question: Question) -> Decision:
    """The decision, asked for again where the gateway says that this may help or where a stage was missing."""
    for attempt in range(1, ATTEMPTS + 1):
        wait = RETRY_AFTER_S
        try:
            decision = await client.moderate(question.file, question.request, Deadline.after(CALL_SECONDS))
            if decision.route != "degraded" or attempt == ATTEMPTS:
                return decision
        except WinnowError as error:
            if not error.retryable or attempt == ATTEMPTS:
                raise
            wait = error.retry_after_s or wait
        await asyncio.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _absent(decision: Decision) -> str:
    return f"the ranker ({decision.rank_missing})" if decision.rank_missing else "the router"
