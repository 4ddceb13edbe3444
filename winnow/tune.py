"""`winnow tune`: lets running services, or ones started for it, judge labelled videos, and fits thresholds to that."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.console import Console

from services.policy import default_policy_path
from winnow.measure import NO_CACHE, POLICY, started
from winnow.output import require_writable

NO_THRESHOLDS = 3
"""Exit code where no thresholds keep what was asked for."""


@dataclass(frozen=True)
class Target:
    """What thresholds are to reach; see docs/lab.md."""

    pass_rate: float | None
    recall: float | None
    confidence: float
    max_pass_rate: float
    block_precision: float | None


@dataclass(frozen=True)
class Videos:
    """Which labelled videos, and where what was said of them is kept."""

    work: Path
    manifest: Path | None
    split: str | None
    mix: Sequence[str]
    counts: tuple[int, int, int]
    observations: Path | None


def run_tune(
    target: Target,
    videos: Videos,
    *,
    policy: Path | None,
    write: bool,
    out: Path,
    gateway: str | None,
    api_key: SecretStr | None,
    data_dir: Path,
    console: Console,
    timeout_s: float,
) -> bool:
    """Collect what is missing, tune, print, write.

    Args:
        target: what to reach.
        videos: the sample.
        policy: its file; None reads the bundled one.
        write: put the thresholds into `policy`.
        out: the JSON report.
        gateway: a running one, with the same policy; None starts the bundled services with it.
        api_key: of that gateway.
        data_dir: of services that are started.
        console: where progress and tables go.
        timeout_s: seconds in which services must be ready.

    Returns:
        Whether there are such thresholds.

    Raises:
        SupervisorError: `out` or the data directory cannot be used, or a service ended or did not get ready.
        ValueError: an argument, the manifest, the policy or the observations cannot be used.
        ModuleNotFoundError: the extra `offline` is not installed.
        WinnowError: the gateway refuses a video.
    """
    lab: Any = importlib.import_module("offline.tuning.run")
    if write and policy is None:
        raise ValueError("--write needs --policy FILE: copy the bundled policy and let it be changed")
    promise = None
    if target.recall is not None:
        promise = lab.Promise(target.recall, target.max_pass_rate, target.confidence, target.block_precision)
    wish = lab.Wish(target.pass_rate, promise)
    sample = lab.sample_of(videos.work, videos.manifest, videos.split, videos.mix, videos.counts)
    file = policy or default_policy_path()
    require_writable(out)
    observations = lab.observations_file(videos.work, videos.observations)
    if observations.exists():
        console.print(f"No service is asked: {observations} is there already.", markup=False)
    elif gateway is not None:
        lab.observe(gateway, sample, file, observations, console, api_key=api_key)
    else:
        settings = NO_CACHE | {POLICY: str(file.absolute())}
        with started(data_dir, console, timeout_s, environment=settings) as services:
            lab.observe(services.gateway, sample, file, observations, console)
    return bool(lab.tune(wish, file, observations, out, console, write=write))
