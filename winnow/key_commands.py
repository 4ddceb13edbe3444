"""The `winnow keys` commands: parse, make one call, turn its outcome into text and an exit code."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from services.api_keys import SCOPES, KeysError, load_keys, utc_now
from winnow.display import stderr_console, stdout_console
from winnow.keys import append_entry, make_key

ALL = ", ".join(SCOPES)

app = typer.Typer(help="The gateway's API keys.", no_args_is_help=True)


@app.command()
def new(
    key_id: Annotated[str, typer.Option("--id", help="Names the caller in logs.")],
    scope: Annotated[list[str] | None, typer.Option(help=f"What it may do: {ALL}; default: decide, read.")] = None,
    expires: Annotated[str | None, typer.Option(help="Date or time (ISO 8601) from which it is refused.")] = None,
    file: Annotated[Path | None, typer.Option(help="File of keys that the entry is added to.")] = None,
) -> None:
    """Make an API key. It is printed once and kept nowhere: the file holds its hash.

    Without --file the entry for the file is printed as well.
    """
    errors = stderr_console()
    try:
        key, entry = make_key(key_id, scope or ["decide", "read"], expires)
        if file is not None:
            append_entry(file, entry)
    except (KeysError, ValueError) as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    except OSError as error:
        errors.print(f"{file} cannot be written: {error.strerror or error}", style="red", markup=False)
        raise typer.Exit(1) from error
    typer.echo(key)
    if file is None:
        typer.echo(f"\n{entry}", nl=False)
    else:
        errors.print(f"Added to {file}. Gateways with WINNOW_GATEWAY_API_KEYS_PATH={file} take it up.", markup=False)
        errors.print("The key is shown this once: put it into WINNOW_API_KEY of the caller.", markup=False)


@app.command("list")
def list_keys(file: Annotated[Path, typer.Option(help="File of keys.")]) -> None:
    """Show who has a key, without the keys, which nobody has."""
    try:
        keys = load_keys(file).keys
    except KeysError as error:
        stderr_console().print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    table = Table("id", "scopes", "expires")
    for key in keys:
        expired = key.expires is not None and key.expires <= utc_now()
        until = "never" if key.expires is None else key.expires.isoformat()
        table.add_row(key.id, ", ".join(key.scopes), f"{until} (expired)" if expired else until)
    stdout_console().print(table)
