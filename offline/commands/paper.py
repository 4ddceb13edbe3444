"""The command that makes the paper's tables again."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer()

Work = Annotated[Path, typer.Option(help="Folder for art, videos, features and checkpoints.")]


@app.command()
def tables(
    minutes: Annotated[
        float, typer.Option(min=0.01, help="Wall time of one training; 4.6 times as much is trained in all.")
    ] = 60.0,
    separate: Annotated[
        bool, typer.Option("--separate", help="A model for each template: 14.2 times the minutes in all.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the bootstrap.")] = 500,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("docs/results"),
    work: Work = Path("build/lab"),
) -> None:
    """The paper's Table 1 and 2, temperature study and Figure 3, on routed traffic of the `test` split.

    Trains what is missing, and goes on where it was stopped; writes tables.md, tables.json and figure3.png.
    """
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from offline.paper.tables import Plan, make_tables
    from offline.stages import ROUTER_MODEL, SEED_MANIFEST
    from services.policy import default_policy_path, load_policy

    console = Console()
    plan = Plan(work, ROUTER_MODEL, SEED_MANIFEST, out, minutes, separate, rounds=rounds)
    try:
        markdown, data = make_tables(plan, load_policy(default_policy_path()), console)
    except (ValueError, OSError) as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(1) from error
    console.print(f"wrote {markdown}, {data}")
