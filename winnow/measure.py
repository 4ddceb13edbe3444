"""Starts the cascade as `winnow demo` does and lets the lab drive it: a short table, a report, or an experiment."""

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from winnow.locate import hold
from winnow.output import require_writable
from winnow.running import fill_bank, running
from winnow.seeds import BUNDLED
from winnow.stack import Ports, service_specs, url, without_settings
from winnow.supervisor import free_port, free_ports

POLICY = "WINNOW_GATEWAY_POLICY_PATH"
NO_CACHE = {"WINNOW_GATEWAY_CACHE_TTL_S": "0"}
"""Every video is to be judged anew, also one that the sample holds twice."""
RANK_FRAMES = 4
"""What the bundled ranker is trained on."""


@dataclass(frozen=True)
class Started:
    """Base URLs of services that run; `control` is another gateway where one was asked for."""

    gateway: str
    router: str
    ranker: str
    control: str


@dataclass(frozen=True)
class Videos:
    """Which videos the lab asks about.

    Attributes:
        work: the lab's folder.
        split: of the manifest or of the demo world; None is all of a manifest, or `test`.
        counts: violations, look-alikes and others of the demo world's sample.
        manifest: labelled videos; None for the demo world.
        mix: shares of traffic by kind, as `winnow lab evaluate --mix` has them.
    """

    work: Path
    split: str | None
    counts: tuple[int, int, int]
    manifest: Path | None = None
    mix: Sequence[str] = ()

    def chosen(self, console: Console) -> Any:
        """What offline.evaluation.videos.choose gives; ValueError where that cannot be used."""
        splits: Any = importlib.import_module("offline.demo_world.splits")
        videos: Any = importlib.import_module("offline.evaluation.videos")
        return videos.choose(self.manifest, self.split, self.mix, splits.Counts(*self.counts), self.work, console)


@contextmanager
def started(
    data_dir: Path,
    console: Console,
    timeout_s: float,
    *,
    environment: Mapping[str, str] | None = None,
    control_policy: Path | None = None,
) -> Iterator[Started]:
    """The services on free ports, with the bundled seeds, for the block.

    Args:
        data_dir: of the services.
        console: where progress goes.
        timeout_s: seconds in which they must be ready.
        environment: settings beside the defaults.
        control_policy: of a second gateway before the same router; none is started where it is None.

    Raises:
        SupervisorError: the data directory cannot be used, or a service ended or did not get ready.
    """
    ports = Ports(*free_ports(3))
    specs = service_specs(ports, data_dir, environment={**without_settings(os.environ), **(environment or {})})
    control = url(ports.gateway)
    if control_policy is not None:
        port, gateway = free_port(), specs[-1]
        control = url(port)
        own = {
            "WINNOW_GATEWAY_PORT": str(port),
            "WINNOW_GATEWAY_DATA_DIR": str((data_dir / "control").absolute()),
            POLICY: str(control_policy.absolute()),
        }
        specs.append(replace(gateway, name="control", url=control, environment={**gateway.environment, **own}))
    with hold(data_dir), running(specs, data_dir, console, timeout_s=timeout_s) as supervisor:
        fill_bank(supervisor, url(ports.router), BUNDLED / "seeds", data_dir, console)
        yield Started(url(ports.gateway), url(ports.router), url(ports.ranker), control)


def run_measure(
    *,
    data_dir: Path,
    work: Path,
    out: Path,
    counts: tuple[int, int, int],
    split: str,
    calibrate: bool,
    report: Path | None,
    command: str,
    console: Console,
    timeout_s: float,
) -> None:
    """Start everything on free ports, ask about a stratified sample of the demo world, print the figures, stop.

    Args:
        data_dir: of the services.
        work: the lab's folder.
        out: the JSON file of the figures.
        counts: violations, look-alikes and others of the sample.
        split: of the demo world.
        calibrate: fit the ranker's calibrator on the calibration split instead of measuring.
        report: folder of the calibrator's report; None writes none.
        command: that the report names.
        console: where progress and figures go.
        timeout_s: seconds in which the services must be ready.

    Raises:
        SupervisorError: `out` or the data directory cannot be used, or a service ended or did not get ready.
        ValueError: there is no such split.
        ModuleNotFoundError: the extra `offline` is not installed.
    """
    lab: Any = importlib.import_module("offline.stages" if calibrate else "offline.evaluation.short")
    splits: Any = importlib.import_module("offline.demo_world.splits")
    sample = splits.Counts(*counts)
    if split not in splits.SPLITS:
        raise ValueError(f"{split!r} is none of {', '.join(splits.SPLITS)}")
    if not calibrate:
        require_writable(out)
    elif report is not None:
        require_writable(report / "calibration.md")
    with started(data_dir, console, timeout_s, environment=NO_CACHE) as services:
        if calibrate:
            lab.calibrate(work, services.gateway, sample, console, report=report, command=command)
        else:
            lab.measure(services.gateway, work=work, split=split, counts=sample, out=out, console=console)


def run_report(
    *,
    data_dir: Path,
    videos: Videos,
    out: Path,
    name: str,
    command: str,
    full_sample: int,
    frames: Sequence[int],
    policy: Path | None,
    console: Console,
    timeout_s: float,
) -> None:
    """Start everything, have the lab evaluate it, start it again for each number of frames, and write the report.

    Args:
        data_dir: of the services.
        videos: that are asked about.
        out: folder of the report.
        name: of its files.
        command: that the report names.
        full_sample: videos asked in mode `full` and with fewer frames.
        frames: most frames of a video, for the comparison with fewer of them.
        policy: of the gateway; None for the bundled one.
        console: where progress goes.
        timeout_s: seconds in which the services must be ready.

    Raises:
        SupervisorError, ValueError, WinnowError, OSError, ModuleNotFoundError: as `winnow lab evaluate` does.
    """
    lab: Any = importlib.import_module("offline.evaluation.run")
    require_writable(out / f"{name}.md")
    chosen = videos.chosen(console)
    setup = lab.Setup(
        rows=chosen.rows, manifest=chosen.manifest, mix=chosen.mix, synthetic=chosen.synthetic,
        folder=videos.work / "evaluation" / name, out=out, name=name, command=command, full_sample=full_sample,
    )  # fmt: skip
    settings = NO_CACHE | ({} if policy is None else {POLICY: str(policy.absolute())})
    with started(data_dir, console, timeout_s, environment=settings) as services:
        lab.observe(setup, lab.Services(services.gateway, services.router, services.ranker), console)
    for count in frames:
        fewer = {"WINNOW_ROUTER_FRAMES_MAX": str(count), "WINNOW_ROUTER_RANK_FRAMES": str(min(count, RANK_FRAMES))}
        with started(data_dir, console, timeout_s, environment=settings | fewer) as services:
            lab.observe(setup, lab.Services(services.gateway), console, condition=f"frames-{count}")
    lab.report(setup, console)
    console.print(f"wrote {out / name}.md")


def run_experiment(
    *,
    data_dir: Path,
    videos: Videos,
    out: Path,
    name: str,
    command: str,
    requests: int,
    control: str,
    treatment: str,
    control_policy: Path | None,
    policy: Path | None,
    salt: str,
    console: Console,
    timeout_s: float,
) -> None:
    """Start everything, with a second gateway where the control has a policy of its own, and simulate the experiment.

    Args:
        data_dir: of the services.
        videos: the pool of the traffic.
        out: folder of the report.
        name: of its files.
        command: that the report names.
        requests: uploads.
        control: its rule, see offline.experiment.design.parse_rule.
        treatment: its rule.
        control_policy: of the control's gateway; None for the treatment's gateway.
        policy: of the treatment's gateway; None for the bundled one.
        salt: of the assignment.
        console: where progress goes.
        timeout_s: seconds in which the services must be ready.

    Raises:
        SupervisorError, ValueError, WinnowError, OSError, ModuleNotFoundError: as `winnow lab experiment` does.
    """
    lab: Any = importlib.import_module("offline.experiment.run")
    design: Any = importlib.import_module("offline.experiment.design")
    require_writable(out / f"{name}.md")
    rules = {"control": design.parse_rule(control), "treatment": design.parse_rule(treatment)}
    chosen = videos.chosen(console)
    settings = {} if policy is None else {POLICY: str(policy.absolute())}
    with started(data_dir, console, timeout_s, environment=settings, control_policy=control_policy) as services:
        setup = lab.Setup(
            rows=chosen.rows, manifest=chosen.manifest, mix=chosen.mix, synthetic=chosen.synthetic,
            design=design.Design(requests, salt=salt), control_url=services.control, treatment_url=services.gateway,
            folder=videos.work / "experiment" / name, out=out, name=name, command=command, **rules,
        )  # fmt: skip
        lab.run(setup, console)
    console.print(f"wrote {out / name}.md")
