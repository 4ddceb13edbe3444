"""The `winnow` command: parses, calls one function, turns its outcome into text and an exit code."""

import asyncio
import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import SecretStr, ValidationError

from services.contracts import Context, ModerationRequest
from winnow.demo import run_demo
from winnow.display import decision_table, stderr_console, stdout_console
from winnow.key_commands import app as key_commands
from winnow.locate import default_data_dir, gateway_url
from winnow.measure_commands import app as measure_commands
from winnow.moderate import Outcome, moderate, short_name
from winnow.options import INTERRUPTED, MAX_TIMEOUT_S, READY_TIMEOUT_S, Timeout
from winnow.report import printable, row
from winnow.seed_commands import app as seed_commands
from winnow.seeds import BUNDLED
from winnow.stack import EngineName, Ports
from winnow.supervisor import SupervisorError
from winnow.tune_command import app as tune_command
from winnow.up import run_up

MAX_PORT = 65_535

app = typer.Typer(
    help="Filter-and-refine moderation of short videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(seed_commands, name="seeds")
app.add_typer(key_commands, name="keys")
app.add_typer(tune_command)
app.add_typer(measure_commands)

DataDir = Annotated[Path | None, typer.Option(help="Data directory; default: the user's data directory.")]
Device = Annotated[str | None, typer.Option(help="Device of the ranker's model, e.g. cuda; default: its own setting.")]


def main() -> None:
    """Entry point of the `winnow` command."""
    app(prog_name="winnow")


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            stdout_console().print(f"winnow {version('winnow-moderation')}")
        except PackageNotFoundError:
            stdout_console().print("winnow (not installed)")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command as a whole."""


@app.command()
def up(
    data_dir: DataDir = None,
    port: Annotated[int, typer.Option(min=1, max=MAX_PORT, help="Port of the gateway.")] = Ports.gateway,
    router_port: Annotated[int, typer.Option(min=1, max=MAX_PORT, help="Port of the router.")] = Ports.router,
    ranker_port: Annotated[int, typer.Option(min=1, max=MAX_PORT, help="Port of the ranker.")] = Ports.ranker,
    engine: Annotated[EngineName | None, typer.Option(help="Engine of the ranker; default: its own setting.")] = None,
    device: Device = None,
    seeds: Annotated[Path | None, typer.Option(help="Seeds for an empty bank; default: the bundled ones.")] = None,
    no_seeds: Annotated[bool, typer.Option("--no-seeds", help="Leave an empty bank empty.")] = False,
    timeout: Timeout = READY_TIMEOUT_S,
) -> None:
    """Start gateway, router and ranker on this machine and keep them running until Ctrl-C."""
    console = stderr_console()
    try:
        run_up(
            ports=Ports(port, router_port, ranker_port),
            data_dir=data_dir or default_data_dir(),
            console=console,
            engine=engine,
            device=device,
            seeds=seeds,
            no_seeds=no_seeds,
            timeout_s=timeout,
        )
    except SupervisorError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        console.print("Stopped.")


@app.command("moderate")
def moderate_files(
    videos: Annotated[list[str], typer.Argument(help="Video files, or http(s) URLs of videos.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print every decision as one line of JSON.")] = False,
    issue: Annotated[list[str] | None, typer.Option(help="Judge this issue alone; may be given several times.")] = None,
    title: Annotated[str, typer.Option(help="Title of the videos.")] = "",
    url: Annotated[
        str | None, typer.Option(help="The gateway; default: WINNOW_URL, else what `winnow up` runs.")
    ] = None,
    data_dir: DataDir = None,
    timeout: Annotated[float, typer.Option(min=0.001, max=MAX_TIMEOUT_S, help="Seconds for one video.")] = 120.0,
) -> None:
    """Ask a running gateway about videos. Exit code 0: all decided; 1: any was not.

    The gateway's API key, where it asks for one, is read from WINNOW_API_KEY.
    """
    errors = stderr_console()
    try:
        request = ModerationRequest(context=Context(title=title), issues=tuple(issue) if issue else None)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            errors.print(f"{'/'.join(map(str, each['loc']))}: {each['msg']}", style="red", markup=False)
        raise typer.Exit(1) from error
    try:
        where = gateway_url(url, os.environ, data_dir or default_data_dir())
    except ValueError as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    given = os.environ.get("WINNOW_API_KEY")
    api_key = SecretStr(given) if given else None

    outcomes: list[Outcome] = []

    async def ask() -> None:
        async for each in moderate(videos, request, url=where, api_key=api_key, timeout_s=timeout):
            if each.decision is not None and as_json:
                typer.echo(each.decision.model_dump_json())
            if each.error is not None:
                errors.print(f"{printable(each.source)}: {each.error}", style="red", markup=False)
            outcomes.append(each)

    try:
        asyncio.run(ask())
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error
    finally:
        rows = [
            row(short_name(each.source), each.decision, each.seconds) for each in outcomes if each.decision is not None
        ]
        if rows and not as_json:
            stdout_console().print(decision_table(rows, with_truth=False, width=stdout_console().width))
    if any(each.error is not None for each in outcomes):
        raise typer.Exit(1)


@app.command()
def demo(
    engine: Annotated[EngineName, typer.Option(help="Engine of the ranker.")] = EngineName.REFERENCE,
    device: Device = None,
    out: Annotated[Path, typer.Option(help="Where the decisions are written.")] = Path("build/demo.json"),
    data_dir: Annotated[Path, typer.Option(help="Data directory, kept between runs.")] = Path("build/demo-data"),
    bundled: Annotated[Path, typer.Option(help="Directory with clips/ and seeds/.", hidden=True)] = BUNDLED,
    timeout: Timeout = READY_TIMEOUT_S,
) -> None:
    """Start everything, moderate the bundled example clips, print what was decided, stop everything."""
    console = stderr_console()
    try:
        run_demo(
            engine=engine,
            device=device,
            out=out,
            data_dir=data_dir,
            bundled=bundled,
            console=console,
            results=stdout_console(),
            timeout_s=timeout,
        )
    except SupervisorError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
def lab(context: typer.Context) -> None:
    """Data, training, calibration and evaluation (needs the extra `offline`)."""
    try:
        # The lab imports torch; no other command may pay for that.
        commands = cast("typer.Typer", importlib.import_module("offline.cli").app)
    except ModuleNotFoundError as error:
        missing = f"The lab cannot be loaded: {error}. Install it with: pip install 'winnow-moderation[offline]'"
        stderr_console().print(missing, style="red", markup=False)
        raise typer.Exit(1) from error
    commands(args=context.args, prog_name="winnow lab")
