"""`winnow measure` and `winnow experiment`: the lab's measurements on services that are started for them."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from winnow.display import stdout_console
from winnow.measure import Videos, run_experiment, run_measure, run_report
from winnow.options import READY_TIMEOUT_S, Timeout, plain_errors

app = typer.Typer()

Counted = Annotated[int, typer.Option(min=1, help="In the demo world's sample.")]
SplitName = Annotated[
    str | None, typer.Option(help="Split of the demo world or of the manifest; default: test, or all.")
]
Manifest = Annotated[Path | None, typer.Option(help="Labelled videos of your own, JSONL or CSV.")]
Mix = Annotated[
    list[str] | None,
    typer.Option(help="Share of traffic: `demo`, or KIND=SHARE, once for each kind; default: the manifest's weights."),
]
PolicyFile = Annotated[Path | None, typer.Option(help="Policy of the gateway; default: the bundled one.")]
DataDir = Annotated[Path, typer.Option(help="Data directory of the services.")]
Work = Annotated[Path, typer.Option(help="The lab's folder; decisions are kept there, and gone on with.")]


@app.command()
def measure(
    violations: Counted = 240,
    look_alikes: Counted = 400,
    others: Counted = 1000,
    split: SplitName = None,
    calibrate: Annotated[
        bool, typer.Option(help="Fit the ranker's calibrator on the calibration split instead of measuring.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where the figures are written.")] = Path("build/measure.json"),
    report: Annotated[
        Path | None, typer.Option(help="Folder: write the report of `winnow lab evaluate`, or the calibrator's, there.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the report's files.")] = "evaluation",
    manifest: Manifest = None,
    mix: Mix = None,
    policy: PolicyFile = None,
    full_sample: Annotated[
        int, typer.Option(min=0, help="Videos asked in mode full and with fewer frames, for the report.")
    ] = 1000,
    frames: Annotated[
        list[int] | None, typer.Option(min=1, max=64, help="Most frames of a video, to compare; several times.")
    ] = None,
    data_dir: DataDir = Path("build/measure-data"),
    work: Work = Path("build/lab"),
    timeout: Timeout = READY_TIMEOUT_S,
) -> None:
    """Start everything and measure the models on a sample of the demo world (needs the extra `offline`, and npm).

    With --report, also on videos of your own (--manifest), and in full: see `winnow lab evaluate`.
    """
    console = stdout_console()
    counts = (violations, look_alikes, others)
    with plain_errors(console):
        if (calibrate or report is None) and (manifest or mix or policy or frames):
            raise ValueError("--manifest, --mix, --policy and --frames go with --report FOLDER, without --calibrate")
        if calibrate or report is None:
            run_measure(
                data_dir=data_dir,
                work=work,
                out=out,
                counts=counts,
                split=split or "test",
                calibrate=calibrate,
                report=report,
                command=command_line(),
                console=console,
                timeout_s=timeout,
            )
            return
        run_report(
            data_dir=data_dir,
            videos=Videos(work, split, counts, manifest, mix or ()),
            out=report,
            name=name,
            command=command_line(),
            full_sample=full_sample,
            frames=frames or [],
            policy=policy,
            console=console,
            timeout_s=timeout,
        )


@app.command()
def experiment(
    requests: Annotated[int, typer.Option(min=100, help="Uploads of the simulated traffic.")] = 10_000,
    control: Annotated[str, typer.Option(help="What acts: verdict, risk, or risk:T for another threshold.")] = "risk",
    treatment: Annotated[str, typer.Option(help="Likewise.")] = "verdict",
    control_policy: Annotated[
        Path | None, typer.Option(help="Policy of a gateway of the control's own; default: the treatment's gateway.")
    ] = None,
    policy: PolicyFile = None,
    salt: Annotated[str, typer.Option(help="Of the users' assignment; another one is another experiment.")] = "winnow",
    violations: Counted = 240,
    look_alikes: Counted = 400,
    others: Counted = 1000,
    split: SplitName = None,
    manifest: Manifest = None,
    mix: Mix = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build/results"),
    name: Annotated[str, typer.Option(help="Of the report's files.")] = "experiment",
    data_dir: DataDir = Path("build/measure-data"),
    work: Work = Path("build/lab"),
    timeout: Timeout = READY_TIMEOUT_S,
) -> None:
    """Start everything and simulate an online experiment of two arms: see `winnow lab experiment`."""
    console = stdout_console()
    with plain_errors(console):
        run_experiment(
            data_dir=data_dir,
            videos=Videos(work, split, (violations, look_alikes, others), manifest, mix or ()),
            out=out,
            name=name,
            command=command_line(),
            requests=requests,
            control=control,
            treatment=treatment,
            control_policy=control_policy,
            policy=policy,
            salt=salt,
            console=console,
            timeout_s=timeout,
        )


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["winnow", *sys.argv[1:]])
