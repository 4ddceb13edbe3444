"""`winnow measure`: starts the cascade as `winnow demo` does and lets the lab measure it."""

import importlib
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from winnow.locate import hold
from winnow.output import require_writable
from winnow.running import fill_bank, running
from winnow.seeds import BUNDLED
from winnow.stack import Ports, service_specs, url, without_settings
from winnow.supervisor import free_ports


def run_measure(
    *,
    data_dir: Path,
    work: Path,
    out: Path,
    counts: tuple[int, int, int],
    split: str,
    calibrate: bool,
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
        console: where progress and figures go.
        timeout_s: seconds in which the services must be ready.

    Raises:
        SupervisorError: `out` or the data directory cannot be used, or a service ended or did not get ready.
        ValueError: there is no such split.
        ModuleNotFoundError: the extra `offline` is not installed.
    """
    lab: Any = importlib.import_module("offline.stages" if calibrate else "offline.measure")
    splits: Any = importlib.import_module("offline.demo_world.splits")
    sample = splits.Counts(*counts)
    if split not in splits.SPLITS:
        raise ValueError(f"{split!r} is none of {', '.join(splits.SPLITS)}")
    if not calibrate:
        require_writable(out)
    ports = Ports(*free_ports(3))
    # Every video is to be judged anew, also one that the sample holds twice.
    environment = {**without_settings(os.environ), "WINNOW_GATEWAY_CACHE_TTL_S": "0"}
    specs = service_specs(ports, data_dir, environment=environment)
    with hold(data_dir), running(specs, data_dir, console, timeout_s=timeout_s) as supervisor:
        fill_bank(supervisor, url(ports.router), BUNDLED / "seeds", data_dir, console)
        if calibrate:
            lab.calibrate(work, url(ports.gateway), sample, console)
        else:
            lab.measure(url(ports.gateway), work=work, split=split, counts=sample, out=out, console=console)
