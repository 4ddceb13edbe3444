"""The command `winnow tune`: parses, calls `run_tune`, turns its outcome into an exit code."""

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from winnow.display import stdout_console
from winnow.options import READY_TIMEOUT_S, Timeout, plain_errors
from winnow.tune import NO_THRESHOLDS, Target, Videos, run_tune

app = typer.Typer()


@app.command()
def tune(
    pass_rate: Annotated[
        float | None, typer.Option(help="Router thresholds that pass this share of traffic; nothing is promised.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Promise: both stages find this share of the violations.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the promise.")] = 0.95,
    max_pass_rate: Annotated[float, typer.Option(help="Promise: at most this share goes to the ranker.")] = 0.1,
    block_precision: Annotated[
        float | None, typer.Option(help="Promise also: this share of what is blocked violates.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file; default: the bundled one, which is kept.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the thresholds into the policy file.")] = False,
    manifest: Annotated[Path | None, typer.Option(help="Labelled videos of your own, .jsonl or .csv.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the manifest; default: all rows.")] = None,
    mix: Annotated[
        list[str] | None, typer.Option(help="Shares of traffic: demo, or KIND=SHARE once for each kind.")
    ] = None,
    violations: Annotated[int, typer.Option(min=1, help="Violations of the demo world.")] = 800,
    look_alikes: Annotated[int, typer.Option(min=1, help="Look-alikes of the demo world.")] = 400,
    others: Annotated[int, typer.Option(min=1, help="Other videos of the demo world.")] = 1000,
    observations: Annotated[
        Path | None, typer.Option(help="Keep what the services said in this file; where it exists, none is asked.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="A running gateway; default: start the bundled services.")] = None,
    out: Annotated[Path, typer.Option(help="Where the report is written.")] = Path("build/tune.json"),
    data_dir: Annotated[Path, typer.Option(help="Data directory of the services.")] = Path("build/measure-data"),
    work: Annotated[Path, typer.Option(help="The lab's folder.")] = Path("build/lab"),
    timeout: Timeout = READY_TIMEOUT_S,
) -> None:
    """Fit thresholds to labelled videos: for a pass rate, or with a guarantee (needs the extra `offline`).

    Exit code 0: found; 3: no thresholds keep what was asked for; 1: an error. The API key of `--url` is read from
    WINNOW_API_KEY.
    """
    console = stdout_console()
    key = os.environ.get("WINNOW_API_KEY")
    with plain_errors(console):
        found = run_tune(
            Target(pass_rate, recall, confidence, max_pass_rate, block_precision),
            Videos(work, manifest, split, mix or [], (violations, look_alikes, others), observations),
            policy=policy,
            write=write,
            out=out,
            gateway=url,
            api_key=SecretStr(key) if key else None,
            data_dir=data_dir,
            console=console,
            timeout_s=timeout,
        )
    if not found:
        raise typer.Exit(NO_THRESHOLDS)
