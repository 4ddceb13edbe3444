"""`winnow demo`: the whole cascade on the bundled example clips, from nothing to a table."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from services.clients import GatewayClient
from services.contracts import Context, Decision, ModerationRequest
from services.deadline import Deadline
from services.errors import WinnowError
from winnow.display import decision_table, progress_bar
from winnow.locate import hold
from winnow.moderate import explain
from winnow.output import require_writable, write_text
from winnow.report import Clip, agreement, row
from winnow.running import fill_bank, running
from winnow.stack import EngineName, Ports, demo_environment, service_specs, url
from winnow.supervisor import SupervisorError, free_ports

CLIP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Judged:
    """A clip, the decision about it, and the seconds from the first byte sent to the answer."""

    clip: Clip
    decision: Decision
    seconds: float


def read_clips(directory: Path) -> list[Clip]:
    """The rows of `manifest.jsonl` in the directory.

    Raises:
        SupervisorError: there is none, or a row is wrong.
    """
    try:
        lines = (directory / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        clips = [TypeAdapter(Clip).validate_json(line) for line in lines if line.strip()]
    except (OSError, ValidationError) as error:
        raise SupervisorError(f"The clips in {directory} cannot be read: {error}") from error
    if not clips:
        raise SupervisorError(f"There are no clips in {directory}.")
    return clips


def run_demo(
    *,
    engine: EngineName,
    device: str | None,
    out: Path,
    data_dir: Path,
    bundled: Path,
    console: Console,
    results: Console,
    timeout_s: float,
) -> list[Judged]:
    """Start everything on free ports, moderate the clips, print the table, write `out`, stop everything.

    Args:
        engine: of the ranker.
        device: of its model, e.g. `cuda`; None is the ranker's default.
        out: the JSON file: `{"decisions": [...], "agreement": n}`.
        data_dir: of the services; kept, so that a second run finds the seeds in the bank.
        bundled: directory with `clips/` and `seeds/`.
        console: where progress goes.
        results: where the table goes.
        timeout_s: seconds in which the services must be ready.

    Raises:
        SupervisorError: anything failed; `out` does not exist then.
    """
    require_writable(out)
    if out.is_file():
        out.unlink()
    environment = demo_environment(os.environ, engine)
    clips = read_clips(bundled / "clips")
    ports = Ports(*free_ports(3))
    specs = service_specs(ports, data_dir, environment=environment, engine=engine, device=device)
    with hold(data_dir), running(specs, data_dir, console, timeout_s=timeout_s) as supervisor:
        fill_bank(supervisor, url(ports.router), bundled / "seeds", data_dir, console)
        gateway = url(ports.gateway)
        console.print(f"Asking {gateway}; API documentation while it runs: {gateway}/docs")
        try:
            judged = asyncio.run(_moderate(clips, bundled / "clips", gateway, console))
        except SupervisorError:
            supervisor.check()
            raise
        show(judged, results)
        write(judged, out)
        results.print(f"Decisions: {out}", markup=False)
    return judged


async def _moderate(clips: Sequence[Clip], directory: Path, gateway: str, console: Console) -> list[Judged]:
    """One clip after the other, so that each latency is its own."""
    judged = []
    async with GatewayClient(gateway) as client:
        with progress_bar(console) as bar:
            task = bar.add_task("Moderating", total=len(clips))
            for clip in clips:
                request = ModerationRequest(context=Context(title=clip.title))
                started = time.perf_counter()
                try:
                    decision = await client.moderate(directory / clip.path, request, Deadline.after(CLIP_TIMEOUT_S))
                except WinnowError as error:
                    raise SupervisorError(f"{clip.path}: {explain(error)}") from error
                except OSError as error:
                    raise SupervisorError(f"{clip.path}: cannot be read: {error}") from error
                require_whole(clip, decision)
                judged.append(Judged(clip, decision, time.perf_counter() - started))
                bar.advance(task)
    return judged


def require_whole(clip: Clip, decision: Decision) -> None:
    """Raise SupervisorError where the cascade did not judge by itself: nothing in a demo may be missing."""
    if decision.route == "degraded" or decision.verdict == "pending" or not decision.issues:
        missing = decision.rank_missing or "the router"
        raise SupervisorError(f"{clip.path}: the decision is {decision.verdict} by route {decision.route} ({missing}).")


def show(judged: Sequence[Judged], results: Console) -> None:
    """Print the table and how many verdicts agree with the truth."""
    rows = [row(each.clip.path, each.decision, each.seconds, each.clip) for each in judged]
    results.print(decision_table(rows, with_truth=True, width=results.width))
    agreed = agreement([(each.clip, each.decision) for each in judged])
    results.print(f"\n{agreed} of {len(judged)} verdicts agree with the truth of these synthetic clips.")


def write(judged: Sequence[Judged], out: Path) -> None:
    """Write the decisions whole, in the order of the clips, and the agreement."""
    document = {
        "decisions": [each.decision.model_dump(mode="json") for each in judged],
        "agreement": agreement([(each.clip, each.decision) for each in judged]),
    }
    write_text(out, json.dumps(document, indent=2) + "\n")
