"""The text of an evaluation's report. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np

from offline.evaluation.errors import Group
from offline.evaluation.quality import OVERALL, Quality
from offline.evaluation.report import Report
from offline.evaluation.trust import ESTIMATOR
from offline.statistics import Estimate

SYNTHETIC = "Synthetic: says nothing about real content."
SHOWN = 20


def estimate(figure: Estimate, digits: int = 3) -> str:
    """`0.912 [0.880, 0.940]`, or a dash where it is not defined."""
    if not np.isfinite(figure.value):
        return "-"
    if not np.isfinite(figure.low):
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def percent(figure: Estimate, digits: int = 2) -> str:
    """`91.2 [88.0, 94.0]` in percent, or a dash where it is not defined."""
    return estimate(Estimate(*(100 * each for each in (figure.value, figure.low, figure.high))), digits)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def render(report: Report, plots: Mapping[str, PurePath]) -> str:
    """The whole report.

    Args:
        report: what is said.
        plots: captions and files, relative to the report.
    """
    parts = [
        _head(report),
        _router(report),
        *(f"## {name[0].upper() + name[1:]}\n\n{_quality(table)}" for name, table in report.quality.items()),
        _systems(report),
        _costs(report),
        _calibration(report),
        *(f"## Errors by {name}\n\n{_groups(name, groups)}" for name, groups in report.groups.items()),
        _modality(report),
        _missing(report),
        *(f"![{caption}]({path.as_posix()})\n" for caption, path in plots.items()),
    ]
    return "\n".join(part for part in parts if part)


def _head(report: Report) -> str:
    about = report.about
    counts = ", ".join(f"{count:,} {kind}" for kind, count in report.videos.items())
    issues = ", ".join(f"{issue} {count}" for issue, count in report.positives.items())
    models = ", ".join(f"{name} `{value[:12]}`" for name, value in report.models.items())
    lines = [
        f"# {about.title}\n",
        *([f"{SYNTHETIC}\n"] if about.synthetic else []),
        f"- Command: `{about.command}`",
        f"- Manifest: `{about.manifest}`; {counts}. Violations: {issues}.",
        f"- Weights: {about.traffic}",
        f"- Models: {models}; calibrators: {', '.join(report.calibrators) or 'none'}.",
        f"- Every figure is followed by its 95 % bootstrap interval ({report.rounds} rounds, drawn within the kinds). "
        "One without width at 0 or 1 says that the sample holds no other case, not that there is none.",
    ]
    if report.cached:
        lines.append(f"- {report.cached} decisions came from the gateway's cache: costs are too low by as much.")
    return "\n".join(lines) + "\n"


def _router(report: Report) -> str:
    rows = [[rate, estimate(figure)] for rate, figure in report.router_recall.items()]
    return (
        "## Router\n\nViolations that pass for an issue that they violate, where all thresholds are moved together "
        f"until so much of traffic passes. At the policy's thresholds {percent(report.pass_rate)} % of it "
        "pass.\n\n" + grid(["pass rate", "recall"], rows)
    )


def _quality(table: Mapping[str, Quality]) -> str:
    rows = [
        [
            name if name != OVERALL else "**overall**", f"{q.videos:,}", f"{q.positives:,}",
            estimate(q.pr_auc), estimate(q.roc_auc), estimate(q.max_f1),
        ]
        for name, q in table.items()
    ]  # fmt: skip
    return grid(["issue", "videos", "violations", "PR-AUC", "ROC-AUC", "Max-F1"], rows)


def _systems(report: Report) -> str:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in report.systems_on.items())
    names = list(report.systems)
    at_policy = grid(
        ["at the policy's thresholds", "violations found, %", "clean traffic flagged, %", "traffic flagged, %"],
        [
            [name, percent(s.at_policy.found), percent(s.at_policy.false_alarms), percent(s.at_policy.flagged)]
            for name, s in report.systems.items()
        ],
    )
    rates = list(next(iter(report.systems.values())).found_at)
    curve = grid(
        ["clean traffic flagged, at most", *(f"found by {name}, %" for name in names)],
        [[rate, *(percent(report.systems[name].found_at[rate]) for name in names)] for rate in rates],
    )
    return (
        f"## Router alone, cascade, full ranker\n\nOn the same videos ({counts}). A violation is found where it is "
        "flagged for an issue that it violates; the router alone flags what it would escalate.\n\n"
        f"{at_policy}\n{curve}"
    )


def _costs(report: Report) -> str:
    if not report.costs:
        return ""
    services = list(next(iter(report.costs.values())).by_service)
    rows = [
        [name, *(estimate(cost.by_service[s], 1) for s in services), estimate(cost.total, 1)]
        for name, cost in report.costs.items()
    ]
    windows = ", ".join(f"{count} of {name}" for name, count in report.cost_windows.items())
    text = (
        "## Cost\n\nCPU seconds for 1,000 videos of traffic, measured by the services themselves, child processes "
        f"included, over windows of videos ({windows}). The cascade's cost is that of filtered and routed videos at "
        f"the pass rate above; intervals are by drawing windows anew.\n\n{grid(['system', *services, 'all'], rows)}"
    )
    cascade, full = report.costs.get("cascade"), report.costs.get("full ranker")
    if cascade is not None and full is not None and full.total.value > 0 and "ranker" in full.by_service:
        ranker = cascade.by_service["ranker"].value / max(full.by_service["ranker"].value, 1e-12)
        text += (
            f"\n{percent(report.pass_rate)} % of traffic pass; the ranker's CPU time is {ranker:.1%} and that of all "
            f"services {cascade.total.value / full.total.value:.1%} of what the ranker on everything takes. Pass rate "
            "and cost are two figures: the router's work is paid for every video, and a routed one is asked about the "
            "issues that escalated alone.\n"
        )
    return text


def _calibration(report: Report) -> str:
    if report.calibration is None:
        return ""
    c = report.calibration
    return (
        f"## Calibration\n\n{ESTIMATOR[0].upper() + ESTIMATOR[1:]}: {estimate(c.error, 4)} over {c.pairs:,} pairs, "
        f"{c.positives:,} of them violations. Noise floor, what exactly right probabilities would give on average: "
        f"{c.floor:.4f}.\n"
    )


def _groups(name: str, groups: Mapping[str, Group]) -> str:
    rows = [
        [
            value, f"{g.violations:,}", percent(g.passed), percent(g.found), f"{g.clean:,}", percent(g.clean_passed),
            percent(g.false_alarms),
        ]
        for value, g in groups.items()
    ]  # fmt: skip
    head = ["violations", "passed by the router, %", "found, %", "clean", "passed by the router, %", "flagged, %"]
    return grid([name, *head], rows)


def _modality(report: Report) -> str:
    if not report.missing_modality:
        return ""
    rows = [
        [
            name.replace("_", " "), f"{m.videos:,}", f"{m.violations:,}", percent(m.whole.found),
            percent(m.without.found), percent(m.found_change), percent(m.whole.false_alarms),
            percent(m.without.false_alarms), percent(m.false_alarm_change),
        ]
        for name, m in report.missing_modality.items()
    ]  # fmt: skip
    head = [
        "missing", "videos", "violations", "found, %", "found without, %", "change", "clean flagged, %",
        "flagged without, %", "change",
    ]  # fmt: skip
    return (
        "## Missing modality\n\nThe same videos with everything and with something missing; changes are paired, in "
        f"points. Without a title, only videos that have one are compared.\n\n{grid(head, rows)}"
    )


def _missing(report: Report) -> str:
    if not report.missing:
        return ""
    lines = ["## Videos without a decision\n", "They are left out; the others of their kind stand for them.\n"]
    for name, why in report.missing.items():
        lines += [f"- {name}: {each}" for each in why[:SHOWN]]
        if len(why) > SHOWN:
            lines.append(f"- {name}: and {len(why) - SHOWN} more")
    return "\n".join(lines) + "\n"
