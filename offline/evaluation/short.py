"""Measures the cascade through the gateway's API: router recall against pass rate, ranker ROC-AUC on routed traffic."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from offline.demo_world.generate import generate
from offline.demo_world.splits import KINDS, Counts, Split
from offline.evaluation.collect import Observation, collect
from offline.evaluation.sample import demo_mix
from offline.manifest import read_manifest
from offline.statistics import Estimate, bootstrap, recall_at_pass_rate, roc_auc

PASS_RATES = (0.025, 0.05, 0.10)


@dataclass(frozen=True)
class Report:
    """Figures on a stratified sample, reweighted to the traffic mix, with 95 % bootstrap intervals."""

    split: str
    videos: dict[str, int]
    recall: dict[str, Estimate]  # by pass rate
    pass_rate: Estimate  # at the policy's thresholds
    cascade_recall: Estimate  # violations found (review or block) for an issue they violate
    false_alarms: Estimate  # share of clean traffic with verdict review or block
    ranker_auc: Estimate  # on routed traffic, video by video


def margins(observation: Observation) -> tuple[float, float]:
    """How far the risk exceeds the policy's threshold: over all issues, and over the issues that are violated."""
    by_issue = {i.id: (i.risk or 0.0) - i.router_threshold for i in observation.decision.issues}
    own = [value for issue, value in by_issue.items() if issue in observation.truth]
    return max(by_issue.values()), max(own, default=-np.inf)


def evaluate(observations: Sequence[Observation], split: str) -> Report:
    """The report of what a gateway decided. Pure."""
    kinds = np.array([KINDS.index(o.kind) for o in observations])
    weight = np.array([o.weight for o in observations])
    positive = np.array([bool(o.truth) for o in observations])
    pairs = np.array([margins(o) for o in observations])
    routed = np.array([any(i.probability is not None for i in o.decision.issues) for o in observations])
    score = np.array([max((i.probability or 0.0 for i in o.decision.issues), default=0.0) for o in observations])
    flagged = np.array([o.decision.verdict in ("review", "block") for o in observations])
    found = np.array(
        [any(i.verdict in ("review", "block") and i.id in o.truth for i in o.decision.issues) for o in observations]
    )

    def recall(rate: float) -> Estimate:
        return bootstrap(lambda k: recall_at_pass_rate(pairs[k, 0], pairs[k, 1], positive[k], weight[k], rate), kinds)

    def share(what: np.ndarray, among: np.ndarray) -> Estimate:
        return bootstrap(lambda k: float(weight[k][what[k] & among[k]].sum() / weight[k][among[k]].sum()), kinds)

    everything = np.ones_like(positive)
    return Report(
        split=split,
        videos={kind: int((kinds == number).sum()) for number, kind in enumerate(KINDS)},
        recall={f"{rate:.1%}": recall(rate) for rate in PASS_RATES},
        pass_rate=share(routed, everything),
        cascade_recall=share(found, positive),
        false_alarms=share(flagged, ~positive),
        ranker_auc=bootstrap(
            lambda k: roc_auc(score[k][routed[k]], positive[k][routed[k]], weight[k][routed[k]]), kinds
        ),
    )


def as_json(report: Report) -> str:
    """The report as JSON; a figure that is not defined is null."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return json.dumps(plain(asdict(report)), indent=2, allow_nan=False) + "\n"


def print_report(report: Report, console: Console) -> None:
    """The report as a table."""
    counted = ", ".join(f"{count} {kind.replace('_', '-')}" for kind, count in report.videos.items())
    table = Table(
        title=f"Bundled models on the demo world, split {report.split}",
        caption=f"{counted}; reweighted to the mix of 1 / 19 / 80 %; 95 % bootstrap intervals. Synthetic: says nothing "
        "about real content.",
    )
    table.add_column("figure")
    table.add_column("value", justify="right")
    for rate, estimate in report.recall.items():
        table.add_row(f"router recall at a pass rate of {rate}", str(estimate))
    table.add_row("pass rate at the policy's thresholds", str(report.pass_rate))
    table.add_row("ranker ROC-AUC on routed traffic", str(report.ranker_auc))
    table.add_row("violations found by the cascade", str(report.cascade_recall))
    table.add_row("clean traffic sent to review or blocked", str(report.false_alarms))
    console.print(table)


def measure(
    url: str, *, work: Path, split: Split, counts: Counts, out: Path, console: Console, concurrency: int = 3
) -> Report:
    """Generate the sample, ask the gateway, print the report and write it to `out` as JSON."""
    manifest = generate(work / "art", work / "videos" / split, split, counts, console)
    observations = asyncio.run(collect(url, read_manifest(manifest), console, mix=demo_mix(), concurrency=concurrency))
    report = evaluate(observations, split)
    print_report(report, console)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(as_json(report), encoding="utf-8")
    return report
