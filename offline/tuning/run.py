"""`winnow tune` without the services: the sample, its observations, the thresholds, the report and the policy file."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from offline.demo_world.splits import Counts
from offline.evaluation.sample import demo_mix, parse_mix, require_labels
from offline.manifest import Labelled, read_manifest, traffic_weights
from offline.tuning import report
from offline.tuning.collect import collect
from offline.tuning.guarantee import guarantee
from offline.tuning.judged import Judged
from offline.tuning.observed import judged_of, read_observations
from offline.tuning.outcome import Promise, Tuned
from offline.tuning.pass_rate import PassRate, tune_pass_rate
from offline.tuning.policy import write_policy
from services.policy import Policy, load_policy


@dataclass(frozen=True)
class Sample:
    """Which labelled videos.

    Attributes:
        work: the lab's folder, with art and videos.
        manifest: of videos of one's own; None takes the demo world's.
        split: the rows to keep; all of a manifest if None.
        mix: share of traffic of each kind; without it the manifest's weights count, or the demo world's mix.
        counts: violations, look-alikes and others of the demo world.
    """

    work: Path
    manifest: Path | None = None
    split: str | None = None
    mix: Mapping[str, float] | None = None
    counts: tuple[int, int, int] = (800, 400, 1000)


@dataclass(frozen=True)
class Wish:
    """What thresholds are to reach: a pass rate of the router alone, or a promise of both stages.

    Raises:
        ValueError: neither or both are wished for, or a share is none.
    """

    pass_rate: float | None = None
    promise: Promise | None = None

    def __post_init__(self) -> None:
        if (self.pass_rate is None) == (self.promise is None):
            raise ValueError("choose one: a pass rate (--pass-rate), or a promise (--recall)")
        shares = {"--pass-rate": self.pass_rate}
        if self.promise is not None:
            shares |= {"--recall": self.promise.recall, "--max-pass-rate": self.promise.pass_rate,
                       "--confidence": self.promise.confidence,
                       "--block-precision": self.promise.block_precision}  # fmt: skip
        for name, share in shares.items():
            if share is not None and not 0.0 < share < 1.0:
                raise ValueError(f"{name} must be above 0 and below 1, not {share:g}")


def observations_file(work: Path, given: Path | None) -> Path:
    """The file of observations. One that was not named is begun anew: the models may have changed since."""
    if given is not None:
        return given
    own = work / "tune" / "observations.jsonl"
    own.unlink(missing_ok=True)
    own.parent.mkdir(parents=True, exist_ok=True)
    return own


def observe(
    url: str, sample: Sample, policy_file: Path, file: Path, console: Console, *, api_key: SecretStr | None = None
) -> None:
    """Ask a running gateway about the sample.

    Raises:
        ValueError: the manifest, the policy or the file cannot be used; the message says why.
        WinnowError: the gateway refuses a video.
    """
    videos, mix = videos_of(sample, load_policy(policy_file), console)
    collect(url, videos, mix, file, console, api_key=api_key)


def sample_of(
    work: Path, manifest: Path | None, split: str | None, mix: Sequence[str], counts: tuple[int, int, int]
) -> Sample:
    """The sample that a command names; `mix` is as `parse_mix` reads it."""
    return Sample(work, manifest, split, parse_mix(mix), counts)


def videos_of(
    sample: Sample, policy: Policy, console: Console
) -> tuple[Sequence[Labelled], Mapping[str, float] | None]:
    """The labelled videos and the share of traffic of each kind; without it their own weights count."""
    if sample.manifest is not None:
        splits = None if sample.split is None else {sample.split}
        rows = read_manifest(sample.manifest, issues=policy.issue_ids, splits=splits)
        require_labels(rows, sample.manifest)
        traffic_weights(rows, sample.mix)  # what is wrong with them is told before anything is asked
        return rows, sample.mix
    # Rendering needs the art and its libraries; a manifest of one's own does not.
    from offline.demo_world.generate import generate

    folder = sample.work / "videos" / "calibration"
    manifest = generate(sample.work / "art", folder, "calibration", Counts(*sample.counts), console)
    return read_manifest(manifest, issues=policy.issue_ids), sample.mix or demo_mix()


def tune(wish: Wish, policy_file: Path, file: Path, out: Path, console: Console, *, write: bool) -> bool:
    """Find thresholds, print them, write the report and, if wished for, the policy file.

    Returns:
        Whether there are thresholds that keep what was asked for.

    Raises:
        ValueError: the observations or the policy cannot be used.
        OSError: a file cannot be written.
    """
    policy = load_policy(policy_file)
    header, rows = read_observations(file)
    judged = judged_of(header, rows, policy)
    kinds = dict(sorted(Counter(row.kind for row in rows).items()))
    console.print(f"{', '.join(f'{count} {kind}' for kind, count in kinds.items())}; observations: {file}")
    found, values = _found(wish, judged, policy, console)
    if values:
        report.print_values(values, policy, console)
    out.parent.mkdir(parents=True, exist_ok=True)
    told = report.document(
        header=header.model_dump(mode="json"), kinds=kinds, asked=asdict(wish), found=found, values=values
    )
    out.write_text(json.dumps(told, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if not values:
        return False
    if write:
        write_policy(policy_file, values)
        console.print(f"wrote {policy_file}; restart the gateway to use it")
    return True


def _found(wish: Wish, judged: Judged, policy: Policy, console: Console) -> tuple[Tuned | PassRate, report.Values]:
    if wish.promise is None:
        passing = tune_pass_rate(judged, wish.pass_rate or 0.0)
        report.print_pass_rate(passing, wish.pass_rate or 0.0, console)
        return passing, {issue: {"router.threshold": value} for issue, value in passing.thresholds.items()}
    tuned = guarantee(judged, wish.promise)
    report.print_promise(tuned, wish.promise, console)
    if tuned.thresholds is None:
        console.print(tuned.reason[0].upper() + tuned.reason[1:] + ".", style="red", markup=False)
        return tuned, {}
    return tuned, report.values_of(judged.issues, tuned.thresholds, policy)
