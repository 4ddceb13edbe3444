"""The `winnow seeds` commands about single seeds: parse, make one call, turn its outcome into text and an exit code."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from services.clients import SeedCalls
from services.contracts import NewSeed, Seed, SeedChange, SeedFilter
from services.deadline import Deadline
from winnow.bank_commands import app as bank_commands
from winnow.display import stderr_console, stdout_console
from winnow.reindex_commands import app as reindex_commands
from winnow.seed_calls import PAGE, ask, pages, whole_id
from winnow.seed_options import (
    CALL_TIMEOUT_S,
    AsJson,
    CallTimeout,
    DataDir,
    Expires,
    Issue,
    Kind,
    NewState,
    Note,
    SeedArgument,
    Share,
    State,
    Url,
    Version,
    expiry,
)
from winnow.seed_tables import seed_details, seed_table

COUNTED = 2_000
"""Seeds beyond the limit that are counted before `list` says `at least`."""

app = typer.Typer(
    help="The seed bank: what the router compares videos with. The API key is read from WINNOW_API_KEY.",
    no_args_is_help=True,
)


@app.command()
def add(
    issue: Annotated[str, typer.Argument(help="That the seed shows.", show_default=False)],
    video: Annotated[Path | None, typer.Argument(help="Video file.", show_default=False)] = None,
    from_url: Annotated[str | None, typer.Option(help="Have the gateway fetch the video here.")] = None,
    text: Annotated[str | None, typer.Option(help="A sentence instead of a video.")] = None,
    decision: Annotated[str | None, typer.Option(help="Take the stored video of this decision.")] = None,
    kind: Kind = None,
    start: Annotated[float, typer.Option(help="Seconds at which the violation begins.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Seconds at which it ends; default: with the video.")] = None,
    share: Share = None,
    expires: Expires = None,
    note: Note = None,
    paused: Annotated[bool, typer.Option("--paused", help="Add it, and do not search for it yet.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
) -> None:
    """Add a seed: a video file, --from-url, --text or --decision. The same bytes and segment are one seed."""

    async def work(calls: SeedCalls) -> tuple[Seed, bool]:
        if sum(each is not None for each in (video, from_url, text, decision)) != 1:
            raise ValueError("Name one of a video file, --from-url, --text and --decision.")
        named: dict[str, Any] = {
            "issue": issue,
            "kind": kind or ("golden" if text is None else "text"),
            "start_s": start,
            "end_s": end,
            "state": "paused" if paused else "active",
            **_given(share, expires, note),
        }
        new = NewSeed.model_validate({**named, "url": from_url, "text": text, "decision_id": decision})
        return await calls.add(video, new if video is None else new.request(), Deadline.after(timeout))

    advice = {"not_found": "Check the id of the decision; its video may have been deleted by now."} if decision else {}
    seed, is_new = ask(work, url=url, data_dir=data_dir, advice=advice)
    _print(seed, as_json=as_json)
    if as_json:
        return
    stays = "The bank had this seed, and it stays as it is; `winnow seeds set` changes it."
    searched = "Added; it is searched for in 2 s." if seed.state == "active" else "Added, and not searched for yet."
    stderr_console().print(searched if is_new else stays, markup=False)


@app.command("list")
def list_seeds(
    issue: Issue = None,
    kind: Kind = None,
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, help="Most seeds to show.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="Show all of them.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
) -> None:
    """List seeds, newest first; with --json one a line."""
    shown, more = list[Seed](), 0

    async def work(calls: SeedCalls) -> None:
        nonlocal more
        asked = SeedFilter.model_validate({"issue": issue, "kind": kind, "state": state, "limit": PAGE})
        count = 0
        async for page in pages(calls, asked, timeout):
            wanted = page if everything else page[: max(0, limit - count)]
            count += len(wanted)
            more += len(page) - len(wanted)
            if as_json:
                for each in wanted:
                    typer.echo(each.model_dump_json())
            else:
                shown.extend(wanted)
            if more >= COUNTED:
                return

    ask(work, url=url, data_dir=data_dir)
    if not as_json:
        console = stdout_console()
        console.print(seed_table(shown, width=console.width, now=datetime.now(UTC)) if shown else "No such seed.")
    if more:
        least = "At least " if more >= COUNTED else ""
        stderr_console().print(f"{least}{more} more: see them with --all or --limit.", markup=False)


@app.command()
def show(
    seed_id: SeedArgument,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
) -> None:
    """Show all about a seed: record, statistics, why it is quarantined or was removed."""

    async def work(calls: SeedCalls) -> Seed:
        return await calls.get(await whole_id(calls, seed_id, timeout), Deadline.after(timeout))

    _print(ask(work, url=url, data_dir=data_dir), as_json=as_json)


@app.command("set")
def set_seed(
    seed_id: SeedArgument,
    state: NewState = None,
    share: Share = None,
    expires: Expires = None,
    note: Note = None,
    version: Version = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
) -> None:
    """Change a seed; what is not named stays as it is. Fails where somebody else has changed it meanwhile."""

    async def work(calls: SeedCalls) -> Seed:
        named = {**_given(share, expires, note), **({} if state is None else {"state": state})}
        if not named:
            raise ValueError("Name what shall change: --state, --share, --expires or --note.")
        change = SeedChange.model_validate(named)
        found, based_on = await _read(calls, seed_id, version, timeout)
        return await calls.change(found, change, Deadline.after(timeout), version=based_on)

    _print(ask(work, url=url, data_dir=data_dir), as_json=as_json)


@app.command()
def remove(
    seed_id: SeedArgument,
    why: Annotated[
        str | None, typer.Option(help="Kept with your name as its tombstone; at a terminal it is asked for.")
    ] = None,
    version: Version = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
) -> None:
    """Remove a seed; `winnow seeds set ID --state active` brings it back."""

    reason = _asked("Why: ") if why is None and not as_json and sys.stdin.isatty() else why or ""

    async def work(calls: SeedCalls) -> Seed:
        if not reason.strip():
            raise ValueError("Say why it is removed: --why TEXT.")
        found, based_on = await _read(calls, seed_id, version, timeout)
        return await calls.remove(found, reason, Deadline.after(timeout), version=based_on)

    _print(ask(work, url=url, data_dir=data_dir), as_json=as_json)


app.add_typer(bank_commands)
app.add_typer(reindex_commands)


async def _read(calls: SeedCalls, given: str, version: int | None, timeout_s: float) -> tuple[str, int]:
    """The whole id of a seed, and the version that a change is based on."""
    found = await whole_id(calls, given, timeout_s)
    return found, version or (await calls.get(found, Deadline.after(timeout_s))).version


def _asked(question: str) -> str:
    # typer.prompt writes to stdout, where the seed goes; even with err=True a space.
    return stderr_console().input(question, markup=False)


def _given(share: float | None, expires: str | None, note: str | None) -> dict[str, Any]:
    """What was named on the command line, as fields of a seed. ValueError for an expiry that cannot be."""
    named: dict[str, Any] = {}
    if share is not None:
        named["share"] = share
    if expires is not None:
        named["expires_at"] = expiry(expires, datetime.now(UTC))
    if note is not None:
        named["note"] = note
    return named


def _print(seed: Seed, *, as_json: bool) -> None:
    if as_json:
        typer.echo(seed.model_dump_json())
    else:
        stdout_console().print(seed_details(seed, now=datetime.now(UTC)))
