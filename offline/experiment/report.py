"""The experiment's report, in the form of Filter-And-Refine's Table 3. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from offline.evaluation.markdown import SYNTHETIC, estimate, grid, percent
from offline.experiment.design import MISMATCH_P, RatioCheck
from offline.experiment.outcome import ALL, Average, Line


@dataclass(frozen=True)
class Report:
    """Everything that is said of an experiment.

    Attributes:
        rules: what acts in each arm, in words.
        models: fingerprints of what decided, by arm.
        drawn: uploads of the traffic.
        videos: of the pool that were drawn at least once, of so many.
        average: of the issues.
        trusted: whether the arms' sizes are right; where they are not, no figure means anything.
        cached: uploads that the gateway answered from its cache.
    """

    name: str
    command: str
    manifest: str
    traffic: str
    synthetic: bool
    salt: str
    rules: dict[str, str]
    models: dict[str, dict[str, str]]
    drawn: int
    videos: tuple[int, int]
    ratio: RatioCheck
    trusted: bool
    lines: dict[str, Line]
    average: Average
    cached: int
    missing: dict[str, list[str]]


def render(report: Report) -> str:
    """The report as Markdown."""
    control, treatment = report.ratio.counted
    expected = " and ".join(f"{each:,.0f}" for each in report.ratio.expected)
    models = "; ".join(
        f"{arm}: {', '.join(f'{part} `{value[:12]}`' for part, value in parts.items())}"
        for arm, parts in report.models.items()
    )
    head = [
        f"# Simulated online experiment: {report.name}\n",
        *([f"{SYNTHETIC}\n"] if report.synthetic else []),
        f"- Command: `{report.command}`",
        f"- Traffic: {report.drawn:,} uploads, drawn with replacement from `{report.manifest}` ({report.videos[0]:,} "
        f"of {report.videos[1]:,} videos were drawn); {report.traffic} Each is sent to the gateway of its arm. "
        f"{report.cached:,} were answered from a gateway's cache, which gives the same answer for the same video.",
        f"- Arms: users are assigned by a hash with the salt `{report.salt}`. Control acts where "
        f"{report.rules['control']}, treatment where {report.rules['treatment']}.",
        f"- Models: {models}.",
        "- Intervals: 95 %, by drawing the videos of the pool anew within their kinds, with all uploads of each.",
        f"- Sample ratio: {control:,} and {treatment:,} decided uploads, {expected} expected, chi-square p = "
        f"{report.ratio.p:.3g}.",
    ]
    if not report.trusted:
        head.append(
            f"\n**Sample ratio mismatch (p below {MISMATCH_P}): the arms do not have the sizes that were assigned, so "
            "they differ in more than the treatment. No figure below can be trusted; find out which uploads "
            "are missing.**"
        )
    return "\n".join(head) + "\n\n" + _table(report.lines, report.average) + _missing(report)


def _table(lines: Mapping[str, Line], average: Average) -> str:
    rows = [
        [
            name if name != ALL else f"**{ALL}**", estimate(line.volume_increase, 1), f"{line.actions[0]:,}",
            f"{line.actions[1]:,}", percent(line.precision[0], 1), percent(line.precision[1], 1),
            estimate(line.precision_change, 1),
        ]
        for name, line in lines.items()
    ]  # fmt: skip
    means = (percent(each, 1) for each in average.precision)
    rows.insert(len(rows) - 1, ["**average**", estimate(average.volume_increase, 1), "", "", *means, ""])
    head = [
        "issue", "action volume increase, %", "actions, control", "actions, treatment", "precision, control, %",
        "precision, treatment, %", "change, points",
    ]  # fmt: skip
    return grid(head, rows) + "\nThe average leaves out issues for which a figure is not defined (-).\n"


def _missing(report: Report) -> str:
    listed = [f"- {arm}: {each}" for arm, why in report.missing.items() for each in why]
    return "\n## Uploads without a decision\n\n" + "\n".join(listed) + "\n" if listed else ""
