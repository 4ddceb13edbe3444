"""The report of the router comparison: Markdown, JSON and a plot. The text is made by pure functions."""

import json
from dataclasses import asdict
from pathlib import Path

from offline.plots import figure, save
from offline.router.compare import CURVE, PASS_RATES, Comparison, Measured

NAME = "router"
_NOTES = """\
Every recipe scores each video for each issue; a video passes where its highest score reaches a threshold that the pass
rate sets. Recall counts a violation as found where it passes for an issue that it violates. ROC-AUC and PR-AUC ask
whether a video violates anything. Videos are weighed to the mix of traffic (1 % violations); in brackets the 95 %
bootstrap interval, resampled within violations, look-alikes and others.

- Supervised contrast: the model's learned head. Captions only: its image embedding, from contrast with captions.
- By frame: the nearest seed of any sampled frame. Pooled: means over the frames of a video and of a seed.
- Segment seeds show the violating shot alone; whole-video seeds are frames of the same videos from start to end.
- Detector of A alone: the highest tag score of the thing that triggers an issue, whatever is beside it.
"""


def write(comparison: Comparison, command: str, out: Path) -> Path:
    """Write router.md, router.json and a plot for each split into `out`; gives the Markdown's path."""
    out.mkdir(parents=True, exist_ok=True)
    document = {"command": command, "pass_rates": PASS_RATES, "curve_rates": CURVE, **asdict(comparison)}
    (out / f"{NAME}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    plots = {split: f"{NAME}_{split}.png" for split in comparison.measured}
    for split, name in plots.items():
        plot(comparison.measured[split], out / name)
    path = out / f"{NAME}.md"
    path.write_text(markdown(comparison, command, plots), encoding="utf-8")
    return path


def markdown(comparison: Comparison, command: str, plots: dict[str, str]) -> str:
    """The report's text; `plots` names the picture of each split."""
    parts = [
        "# Ways to route",
        f"Made by `{command}`. Encoder {comparison.fingerprint}, {comparison.seeds[0]} seeds an issue unless a row says"
        " otherwise. Synthetic: says nothing about real content.",
        _NOTES.rstrip(),
    ]
    for split, rows in comparison.measured.items():
        counts = comparison.counts[split]
        told = ", ".join(f"{count} {kind.replace('_', '-')} videos" for kind, count in counts.items())
        parts += [f"## `{split}`", f"{told}.", table(rows), f"![Recall against pass rate]({plots[split]})"]
    return "\n\n".join(parts) + "\n"


def table(rows: tuple[Measured, ...]) -> str:
    """One line for each recipe."""
    heads = ["recipe", *(f"recall at {rate:.1%}" for rate in PASS_RATES), "ROC-AUC", "PR-AUC"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        cells = [row.recipe, *map(str, row.recall), str(row.roc_auc), str(row.pr_auc)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: tuple[Measured, ...], path: Path) -> Path:
    """Recall against pass rate, a line for each recipe."""
    drawn, axes = figure(width=8.0, height=5.0)
    for number, row in enumerate(rows):
        axes.plot([100 * rate for rate in CURVE], row.curve, label=row.recipe, linestyle="-" if number < 8 else "--")
    axes.set(xscale="log", xlabel="pass rate, % of traffic", ylabel="recall", ylim=(0.0, 1.02))
    axes.set_xticks([0.5, 1, 2.5, 5, 10, 30], labels=["0.5", "1", "2.5", "5", "10", "30"])
    axes.minorticks_off()
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2, frameon=False)
    return save(drawn, path)
