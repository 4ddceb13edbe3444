"""The `winnow seeds` commands: parse, make one call, turn its outcome into text and an exit code."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console

from services.clients import RouterClient
from services.errors import WinnowError
from winnow.display import progress_bar, stderr_console
from winnow.locate import server_url
from winnow.options import INTERRUPTED
from winnow.seeds import BUNDLED, add_seeds, read_manifest
from winnow.stack import ROUTER_TOKEN, Ports, url

app = typer.Typer(help="The seeds of a running router.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Keep the name of a group's only command."""


@app.command()
def load(
    directory: Annotated[
        Path, typer.Argument(help="Holds manifest.jsonl and the videos; default: the bundled demo seeds.")
    ] = BUNDLED / "seeds",
    router: Annotated[str, typer.Option(envvar="WINNOW_ROUTER_URL", help="The router.")] = url(Ports.router),
) -> None:
    """Add seeds to the bank of a running router; one that it has already is not added again.

    The router's service token is read from WINNOW_ROUTER_SERVICE_TOKEN.
    """
    console = stderr_console()
    given = os.environ.get(ROUTER_TOKEN)
    try:
        router = server_url(router, "router", url(Ports.router))
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
    console.print(f"{count} seeds are in the bank.")


async def _load(directory: Path, router_url: str, token: SecretStr | None, console: Console) -> int:
    rows = await asyncio.to_thread(read_manifest, directory)
    with progress_bar(console) as bar:
        task = bar.add_task("Loading seeds", total=len(rows))
        async with RouterClient(router_url, token=token) as router:
            await add_seeds(
                router, directory, rows, advance=lambda done, total: bar.update(task, completed=done, total=total)
            )
    return len(rows)
