"""`winnow lab`: the demo world, training, fitting and measurement, each step resumable."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from offline.commands import data, evaluate, finetune, paper, router, seeds
from offline.demo_world.splits import DEFAULT_SEED, SPLITS, Counts, Split

app = typer.Typer(help="Data, training, calibration and measurement on the demo world.", no_args_is_help=True)
app.add_typer(data.app)
app.add_typer(paper.app)
app.add_typer(router.app)
app.add_typer(seeds.app)
app.add_typer(evaluate.app)
app.add_typer(finetune.app)

Work = Annotated[Path, typer.Option(help="Folder for art, videos, features and checkpoints.")]
DEFAULT_WORK = Path("build/lab")
ROUTER_MINUTES, RANKER_MINUTES = 140.0, 80.0
"""On two cores: about what the bundled models took."""
Seed = Annotated[int, typer.Option(help="Seed of the generator.")]
Violations = Annotated[int, typer.Option(min=0)]
LookAlikes = Annotated[int, typer.Option(min=0)]
Others = Annotated[int, typer.Option(min=0)]


@app.command()
def bundle(out: Path = Path("winnow/bundled"), seed: Seed = DEFAULT_SEED, work: Work = DEFAULT_WORK) -> None:
    """Write the bundled example clips and seeds."""
    from offline.bundle import bundle as write

    write(work / "art", work / "bundle", out, Console(), seed=seed)


@app.command("train-router")
def train_router(
    minutes: Annotated[float, typer.Option(help="Wall time of dense pre-training.")] = ROUTER_MINUTES,
    work: Work = DEFAULT_WORK,
) -> None:
    """Train the router's encoder: dense pre-training, then the head."""
    from offline.stages import train_router as stage

    stage(work, minutes, Console())


@app.command("train-text")
def train_text(work: Work = DEFAULT_WORK) -> None:
    """Train the text head, by which sentences can be seeds; the encoder of images stays what it is."""
    from offline.stages import train_text as stage

    stage(work, Console())


@app.command("fit-router")
def fit_router(
    pass_rate: Annotated[float, typer.Option(help="Share of traffic that the thresholds may pass.")] = 0.05,
    work: Work = DEFAULT_WORK,
) -> None:
    """Fit the background and the router thresholds of the bundled policy on the calibration split."""
    from offline.stages import fit_router as stage

    stage(work, pass_rate, Console())


@app.command("fit-background")
def fit_background(
    kind: Annotated[list[str], typer.Option(help="Kind of seed: golden, text or negative; may be given again.")],
    work: Work = DEFAULT_WORK,
) -> None:
    """Fit the background of some kinds of seed anew; thresholds and the other kinds stay as they are."""
    from offline.stages import FITTED_KINDS, fit_kinds

    chosen = [each for each in FITTED_KINDS if each in kind]
    if unknown := sorted(set(kind) - set(chosen)):
        raise typer.BadParameter(f"{', '.join(unknown)}: none of {', '.join(FITTED_KINDS)}", param_hint="--kind")
    fit_kinds(work, chosen, Console())


@app.command("train-ranker")
def train_ranker(
    minutes: Annotated[float, typer.Option(help="Wall time of training.")] = RANKER_MINUTES,
    work: Work = DEFAULT_WORK,
) -> None:
    """Train the ranker on the router's vision tower."""
    from offline.stages import train_ranker as stage

    stage(work, minutes, Console())


@app.command()
def calibrate(
    url: Annotated[str, typer.Option(help="A running gateway.")],
    violations: Violations = 160,
    look_alikes: LookAlikes = 190,
    others: Others = 800,
    report: Annotated[Path | None, typer.Option(help="Folder for calibration.md, .json and .png.")] = None,
    work: Work = DEFAULT_WORK,
) -> None:
    """Fit the ranker's calibrator on routed traffic of the calibration split; drives a running gateway."""
    from offline.stages import calibrate as stage

    stage(
        work, url, Counts(violations, look_alikes, others), Console(), report=report,
        command=shlex.join(["winnow", *sys.argv[1:]]),
    )  # fmt: skip


@app.command()
def measure(
    url: Annotated[str, typer.Option(help="A running gateway.")],
    split: Annotated[str, typer.Option(help=f"One of {', '.join(SPLITS)}.")] = "test",
    violations: Violations = 240,
    look_alikes: LookAlikes = 400,
    others: Others = 1000,
    out: Path = Path("build/measure.json"),
    work: Work = DEFAULT_WORK,
) -> None:
    """Router recall and ranker ROC-AUC of a running cascade, on a stratified sample reweighted to the mix.

    `winnow measure` starts the services for it.
    """
    from offline.evaluation.short import measure as run

    counts = Counts(violations, look_alikes, others)
    run(url, work=work, split=_split(split), counts=counts, out=out, console=Console())


@app.command()
def rebuild(work: Work = DEFAULT_WORK) -> None:
    """Rebuild both bundled models, clips, seeds, background and thresholds from nothing; resumes where it stopped."""
    from offline import stages

    console = Console()
    bundle(work=work)
    stages.train_router(work, ROUTER_MINUTES, console)
    stages.train_text(work, console)
    stages.fit_router(work, 0.05, console)
    stages.train_ranker(work, RANKER_MINUTES, console)
    console.print("Left to do: `winnow measure --calibrate`.")


def _split(name: str) -> Split:
    if name not in SPLITS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(SPLITS)}")
    return name
