"""Drives a running gateway with labelled videos and keeps what it decided, next to the truth."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from offline.demo_world.scene import Kind
from offline.demo_world.splits import MIX
from services.clients import GatewayClient
from services.contracts import Context, Decision, Mode, ModerationRequest
from services.deadline import Deadline
from services.errors import WinnowError

CALL_SECONDS = 120.0


@dataclass(frozen=True)
class Labelled:
    """A video of a manifest and its truth."""

    path: Path
    kind: Kind
    issues: frozenset[str]
    title: str


@dataclass(frozen=True)
class Observation:
    """A decision and the truth about its video. `weight` is the share of traffic that the video stands for."""

    kind: Kind
    truth: frozenset[str]
    decision: Decision
    weight: float


def read_manifest(path: Path) -> list[Labelled]:
    """Rows of a demo-world manifest."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows.append(Labelled(path.parent / row["path"], row["kind"], frozenset(row["issues"]), row["title"]))
    return rows


async def collect(
    url: str, videos: Sequence[Labelled], console: Console, *, mode: Mode = "cascade", concurrency: int = 3
) -> list[Observation]:
    """Ask the gateway about every video, a few at a time.

    Raises:
        WinnowError: the gateway refuses a video: a measurement with holes would mislead.
    """
    counts = {kind: sum(v.kind == kind for v in videos) for kind in MIX}
    slots = asyncio.Semaphore(concurrency)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with GatewayClient(url) as client:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(f"moderating ({mode})", total=len(videos))

            async def ask(video: Labelled) -> Observation:
                async with slots:
                    request = ModerationRequest(context=Context(title=video.title), mode=mode)
                    decision = await client.moderate(video.path, request, Deadline.after(CALL_SECONDS))
                progress.advance(task)
                if decision.route == "degraded":
                    raise WinnowError(f"{video.path.name} was decided without {decision.rank_missing or 'the router'}")
                return Observation(video.kind, video.issues, decision, MIX[video.kind] / counts[video.kind])

            try:
                async with asyncio.TaskGroup() as group:
                    asked = [group.create_task(ask(video)) for video in videos]
            except ExceptionGroup as errors:  # the others were cancelled for it
                raise errors.exceptions[0] from errors
            return [each.result() for each in asked]
