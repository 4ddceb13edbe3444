"""The `winnow seeds` commands about the bank as a whole: load, import, export, stats and select."""

import asyncio
import heapq
import importlib
import json
import os
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from pydantic import SecretStr
from rich.console import Console

from services.clients import RouterClient, SeedCalls
from services.contracts import BankStatus, Seed
from services.deadline import Deadline
from services.errors import WinnowError
from winnow.bank_export import Exported, export_bank
from winnow.bank_files import BankExport, export_in, is_export
from winnow.display import progress_bar, stderr_console, stdout_console
from winnow.locate import default_data_dir, server_url
from winnow.options import INTERRUPTED
from winnow.seed_calls import ask, every_page, where
from winnow.seed_import import Imported, Journal, export_items, row_items, run_import
from winnow.seed_manifest import find_manifest, read_rows
from winnow.seed_options import CALL_TIMEOUT_S, AsJson, CallTimeout, DataDir, Url
from winnow.seed_tables import bank_tables, failure_table
from winnow.seeds import BUNDLED, STATUS_TIMEOUT_S, add_seeds, read_manifest
from winnow.stack import ROUTER_TOKEN, Ports
from winnow.stack import url as url_of

MOST = 10
"""Seeds in each of the tables of `stats`."""

app = typer.Typer()


@app.command()
def load(
    directory: Annotated[
        Path, typer.Argument(help="Holds manifest.jsonl and the videos; default: the bundled demo seeds.")
    ] = BUNDLED / "seeds",
    router: Annotated[str, typer.Option(envvar="WINNOW_ROUTER_URL", help="The router.")] = url_of(Ports.router),
    as_json: AsJson = False,
) -> None:
    """Add seeds to the bank of a running router, past the gateway; one that it has already is not added again.

    The router's service token is read from WINNOW_ROUTER_SERVICE_TOKEN.
    """
    console = stderr_console()
    given = os.environ.get(ROUTER_TOKEN)
    try:
        router = server_url(router, "router", url_of(Ports.router))
    except ValueError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    try:
        count = asyncio.run(_load(directory, router, SecretStr(given) if given else None, console))
    except WinnowError as error:
        console.print(f"The seeds could not be loaded: {error.detail}", style="red", markup=False)
        raise typer.Exit(1) from error
    except (OSError, ValueError) as error:
        console.print(f"The seeds in {directory} cannot be read: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error
    if as_json:
        typer.echo(json.dumps({"seeds": count}))
    else:
        console.print(f"{count} seeds are in the bank.")


@app.command("import")
def import_seeds(
    source: Annotated[
        Path, typer.Argument(help="Manifest (.jsonl or .csv) or its directory, or an export.", show_default=False)
    ],
    anew: Annotated[bool, typer.Option("--anew", help="Send also what an unfinished import has sent.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
) -> None:
    """Add the seeds of a manifest, or restore those of an exported bank. Exit code 1: some could not be added.

    An import that was ended early, or in which seeds failed, goes on where it was when it is run again.
    """
    imported = Imported()

    async def work(calls: SeedCalls) -> None:
        if is_export(source):
            export = export_in(source)
            items, total = export_items(export), await asyncio.to_thread(export.count)
        else:
            manifest = find_manifest(source)
            rows = await asyncio.to_thread(read_rows, manifest)
            items, total = row_items(manifest.parent, rows), len(rows)
        # A gateway that is not there, or a key that is wrong, is told at once.
        await calls.bank(Deadline.after(STATUS_TIMEOUT_S))
        journal = Journal(data_dir or default_data_dir(), where(url, data_dir), source, anew=anew)
        with progress_bar(stderr_console()) as bar:
            task = bar.add_task("Adding seeds", total=total)
            try:
                await run_import(
                    calls, items, journal, imported, timeout_s=timeout,
                    advance=lambda so_far: bar.update(task, completed=so_far.done),
                )  # fmt: skip
            finally:
                journal.close(finished=imported.done == total and not imported.failed)

    finished = False
    try:
        ask(work, url=url, data_dir=data_dir, interrupted=_goes_on)
        finished = True
    finally:
        if finished or imported.done:
            _report(imported, as_json=as_json)
    if imported.failed:
        raise typer.Exit(1)


@app.command("export")
def export_seeds(
    directory: Annotated[Path, typer.Argument(help="Of the export; it is made.", show_default=False)],
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
) -> None:
    """Copy the whole bank into seeds.parquet and frames/ (needs the extra `bank`). Run it again to go on."""
    exported = Exported()

    async def work(calls: SeedCalls) -> int:
        export = BankExport(directory)
        # It is written down and shown: a password that the URL has does not belong there.
        source = str(httpx.URL(where(url, data_dir)).copy_with(userinfo=b""))
        states = (await calls.bank(Deadline.after(STATUS_TIMEOUT_S))).states
        with progress_bar(stderr_console()) as bar:
            task = bar.add_task("Copying seeds", total=sum(states.values()) or None)
            return await export_bank(
                calls, export, exported, source=source, timeout_s=timeout,
                advance=lambda so_far: bar.update(task, completed=so_far.done),
            )  # fmt: skip

    count = ask(work, url=url, data_dir=data_dir, interrupted=_goes_on)
    failed = [{"seed": seed_id, "why": why} for seed_id, why in exported.failed]
    if as_json:
        typer.echo(json.dumps({"seeds": count, "directory": str(directory), "failed": failed}))
    else:
        stdout_console().print(f"{count} seeds are in {directory}.", markup=False)
    if failed:
        stderr_console().print(failure_table(exported.failed))
        raise typer.Exit(1)


@app.command()
def stats(
    as_json: AsJson = False, url: Url = None, data_dir: DataDir = None, timeout: CallTimeout = CALL_TIMEOUT_S
) -> None:
    """Show the bank: seeds by issue and state, its encoder, what was hit and refuted most, what is quarantined."""
    issues: dict[str, Counter[str]] = defaultdict(Counter)
    quarantined, others = list[Seed](), {"hits": list[Seed](), "refuted": list[Seed]()}

    async def work(calls: SeedCalls) -> BankStatus:
        bank = await calls.bank(Deadline.after(timeout))
        async for page in every_page(calls, timeout):
            for seed in page:
                issues[seed.issue][seed.state] += 1
            quarantined.extend(seed for seed in page if seed.state == "quarantined")
            for name, best in others.items():
                best[:] = _most(name, (*best, *page))
        return bank

    bank = ask(work, url=url, data_dir=data_dir)
    if as_json:
        seeds = {"most_hits": others["hits"], "most_refuted": others["refuted"], "quarantined": quarantined}
        listed = {name: [seed.model_dump(mode="json") for seed in each] for name, each in seeds.items()}
        typer.echo(json.dumps({"bank": bank.model_dump(mode="json"), "issues": issues, **listed}))
        return
    tables = {"Most hits": others["hits"], "Most refuted": others["refuted"], "Quarantined": quarantined}
    stdout_console().print(bank_tables(bank, issues, tables, now=datetime.now(UTC)))


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
def select(context: typer.Context) -> None:
    """Choose seeds from a pool of known violations, as a manifest for `import` (needs the extra `offline`)."""
    try:
        # The lab imports torch; no other command may pay for that.
        command: Any = importlib.import_module("offline.selection.command").select
    except ModuleNotFoundError as error:
        missing = f"The lab cannot be loaded: {error}. Install it with: pip install 'winnow-moderation[offline]'"
        stderr_console().print(missing, style="red", markup=False)
        raise typer.Exit(1) from error
    lab = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    lab.command()(command)
    lab(args=context.args, prog_name="winnow seeds select")


async def _load(directory: Path, router_url: str, token: SecretStr | None, console: Console) -> int:
    rows = await asyncio.to_thread(read_manifest, directory)
    with progress_bar(console) as bar:
        task = bar.add_task("Loading seeds", total=len(rows))
        async with RouterClient(router_url, token=token) as router:
            await add_seeds(
                router, directory, rows, advance=lambda done, total: bar.update(task, completed=done, total=total)
            )
    return len(rows)


def _goes_on(console: Console) -> None:
    console.print("What is done is kept: run the same command again to go on.", markup=False)


def _report(imported: Imported, *, as_json: bool) -> None:
    if as_json:
        failed = [{"seed": name, "why": why} for name, why in imported.failed]
        counts = {"added": imported.added, "had": imported.had, "skipped": imported.skipped}
        typer.echo(json.dumps({**counts, "failed": failed}))
        return
    parts = [f"{imported.added} seeds added", f"{imported.had} were in the bank already"]
    if imported.skipped:
        parts.append(f"{imported.skipped} were sent by an earlier run (--anew sends them again)")
    stdout_console().print(f"{', '.join(parts)}, {len(imported.failed)} failed.", markup=False)
    if imported.failed:
        stderr_console().print(failure_table(imported.failed))


def _most(name: str, seeds: tuple[Seed, ...]) -> list[Seed]:
    """The seeds with most hits, or most refuted ones; none that has none."""
    counted = {seed.id: seed for seed in seeds if getattr(seed.stats, name)}
    return heapq.nlargest(MOST, counted.values(), key=lambda seed: getattr(seed.stats, name))
