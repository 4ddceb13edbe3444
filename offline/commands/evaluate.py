"""`winnow lab evaluate` and `winnow lab experiment`: both drive services that run."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import SecretStr
from rich.console import Console

from offline.demo_world.splits import SPLITS, Counts
from services.errors import WinnowError

app = typer.Typer()

Manifest = Annotated[
    Path | None, typer.Option(help="Labelled videos, JSONL or CSV; default: a sample of the demo world.")
]
SplitName = Annotated[
    str | None, typer.Option(help=f"Split of the manifest; of the demo world one of {', '.join(SPLITS)}.")
]
Mix = Annotated[
    list[str] | None,
    typer.Option(help="Share of traffic: `demo`, or KIND=SHARE, once for each kind; default: the manifest's weights."),
]
Counted = Annotated[int, typer.Option(min=1, help="In the demo world's sample.")]
Out = Annotated[Path, typer.Option(help="Folder of the report.")]
Work = Annotated[Path, typer.Option(help="The lab's folder; decisions are kept there, and gone on with.")]
Concurrency = Annotated[int, typer.Option(min=1, max=64, help="Most calls at a time.")]


@app.command()
def evaluate(
    url: Annotated[str, typer.Option(help="A running gateway; its cache should be off.")],
    router_url: Annotated[str | None, typer.Option(help="Its router, to measure CPU time.")] = None,
    ranker_url: Annotated[str | None, typer.Option(help="Its ranker, to measure CPU time.")] = None,
    manifest: Manifest = None,
    split: SplitName = None,
    mix: Mix = None,
    violations: Counted = 240,
    look_alikes: Counted = 400,
    others: Counted = 1000,
    full_sample: Annotated[int, typer.Option(min=0, help="Videos asked in mode full too; 0: none.")] = 1000,
    condition: Annotated[
        str | None,
        typer.Option(help="Name of what these services lack, e.g. frames-2: compared with what was observed before."),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the report's files.")] = "evaluation",
    out: Out = Path("build/results"),
    work: Work = Path("build/lab"),
    concurrency: Concurrency = 3,
) -> None:
    """Drive running services with labelled videos and write a report: Markdown, JSON and plots.

    `winnow measure --report` starts the services for it.
    """
    from offline.evaluation.run import Services, Setup, observe, report
    from offline.evaluation.videos import choose

    console = Console()
    with plain_errors(console):
        chosen = choose(manifest, split, mix or (), Counts(violations, look_alikes, others), work, console)
        setup = Setup(
            rows=chosen.rows, manifest=chosen.manifest, mix=chosen.mix, synthetic=chosen.synthetic,
            folder=work / "evaluation" / name, out=out, name=name, command=command_line(), full_sample=full_sample,
            concurrency=concurrency,
        )  # fmt: skip
        observe(setup, Services(url, router_url, ranker_url, api_key()), console, condition=condition)
        report(setup, console)
        console.print(f"wrote {out / name}.md")


@app.command()
def experiment(
    treatment_url: Annotated[str, typer.Option(help="Gateway of the treatment.")],
    control_url: Annotated[str | None, typer.Option(help="Gateway of the control; default: the treatment's.")] = None,
    treatment: Annotated[
        str, typer.Option(help="What acts: verdict, risk, or risk:T for another threshold.")
    ] = "verdict",
    control: Annotated[str, typer.Option(help="Likewise.")] = "risk",
    requests: Annotated[int, typer.Option(min=100, help="Uploads of the simulated traffic.")] = 10_000,
    treatment_share: Annotated[float, typer.Option(min=0.01, max=0.99, help="Of the users.")] = 0.5,
    salt: Annotated[str, typer.Option(help="Of the users' assignment; another one is another experiment.")] = "winnow",
    manifest: Manifest = None,
    split: SplitName = None,
    mix: Mix = None,
    violations: Counted = 240,
    look_alikes: Counted = 400,
    others: Counted = 1000,
    name: Annotated[str, typer.Option(help="Of the report's files.")] = "experiment",
    out: Out = Path("build/results"),
    work: Work = Path("build/lab"),
    concurrency: Concurrency = 3,
) -> None:
    """Simulate an online experiment of two arms and write the paper's Table 3: action volume and precision.

    `winnow experiment` starts the services for it.
    """
    from offline.evaluation.videos import choose
    from offline.experiment.design import Design, parse_rule
    from offline.experiment.run import Setup, run

    console = Console()
    with plain_errors(console):
        chosen = choose(manifest, split, mix or (), Counts(violations, look_alikes, others), work, console)
        setup = Setup(
            rows=chosen.rows, manifest=chosen.manifest, mix=chosen.mix, synthetic=chosen.synthetic,
            design=Design(requests, treatment_share, salt), control_url=control_url or treatment_url,
            treatment_url=treatment_url, control=parse_rule(control), treatment=parse_rule(treatment),
            folder=work / "experiment" / name, out=out, name=name, command=command_line(), concurrency=concurrency,
            api_key=api_key(),
        )  # fmt: skip
        run(setup, console)
        console.print(f"wrote {out / name}.md")


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["winnow", *sys.argv[1:]])


def api_key() -> SecretStr | None:
    """The gateway's key of the environment."""
    given = os.environ.get("WINNOW_API_KEY")
    return SecretStr(given) if given else None


@contextmanager
def plain_errors(console: Console) -> Iterator[None]:
    """Turn what a user can put right into a message and exit code 1."""
    try:
        yield
    except (WinnowError, ValueError, OSError, RuntimeError, httpx.InvalidURL) as error:
        console.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        console.print("Stopped; the same command goes on from here.")
        raise typer.Exit(130) from error
