"""The report on choosing seeds: Markdown, JSON and a plot."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from offline.demo_world.splits import Counts
from offline.evaluation.markdown import SYNTHETIC, estimate, grid, percent
from offline.plots import save, style
from offline.router.compare import PASS_RATES
from offline.selection.compare_seeds import BY_DATA, BY_SILHOUETTE, Found, InSpace, SeedComparison
from offline.selection.world import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "selection"
RATES = tuple(f"recall at {rate:.1%}" for rate in PASS_RATES)
HOW = """\
A video passes where its highest risk reaches a threshold that the pass rate sets; a violation is found where it passes
for an issue that it violates. Risk is computed by the rule that the router serves, by frame, after a background that is
fitted to each bank on 990 clean videos of the split `calibration`. Videos are weighed to the mix of traffic (1 %
violations, 19 % look-alikes); in brackets the 95 % bootstrap interval, resampled within the kinds."""
_WAYS = """\
- centroid-proximity: Filter-And-Refine's Centroid-Proximity Seed Selection (section 3.1), which the paper names and
  does not spell out: near-duplicates are dropped, k-means on the segments' mean vectors, of each cluster the real
  segment nearest to its centroid.
- farthest-first: the segment nearest to the mean, then always the one that is farthest from those chosen.
- all: every segment of the pool.
- by held-out cosine: as many as `winnow seeds select` takes by itself: the smallest number that gives 80 % of what
  the best number gives over one seed, in the mean cosine of held-out segments with their nearest seed. By silhouette:
  the number of clusters that are best separated.
- over random: recall less that of as many random seeds, paired. A random choice is drawn several times: its recall is
  the mean, and *draws* the lowest and the highest. Random and farthest-first choose from the whole pool,
  centroid-proximity from what is left of it without near-duplicates: its difference is that of both steps.
- intervals: the videos alone are drawn anew, not the seeds: neither the random draws nor the start of k-means.
- cosine: of the pool's segments with their nearest seed, on average."""


TITLES: Mapping[Space, tuple[str, str]] = MappingProxyType(
    {
        "served": ("As served", "The encoder's vectors; a learned head has been taught these issues."),
        "caption": (
            "Without the head",
            "The model's image embedding, which learned from captions and was taught no issue: what a general encoder "
            "may be like.",
        ),
    }
)


def made(command: str, encoder: str, counts: Counts) -> str:
    """What a report says about its origin."""
    return (
        f"{SYNTHETIC} Made by `{command}` on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores "
        f"({platform.machine()}). Encoder `{encoder}`; measured on the first {counts.violation:,} violations, "
        f"{counts.look_alike:,} look-alikes and {counts.other:,} other videos of the split `test`."
    )


def write(comparison: SeedComparison, command: str, out: Path) -> Path:
    """Write selection.md, selection.json and selection.png into `out`; gives the Markdown's path."""
    out.mkdir(parents=True, exist_ok=True)
    document = {"command": command, "pass_rates": PASS_RATES, **asdict(comparison)}
    (out / f"{NAME}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    plot(comparison.spaces, out / f"{NAME}.png")
    path = out / f"{NAME}.md"
    path.write_text(markdown(comparison, command), encoding="utf-8")
    return path


def markdown(comparison: SeedComparison, command: str) -> str:
    """The report's text."""
    parts = [
        "# Choosing seeds",
        made(command, comparison.encoder, comparison.counts),
        "How many of the known violations does a bank need, and which? The pool is the split `bank`: "
        f"{sum(comparison.pool.values()):,} violating segments.",
        HOW,
        _WAYS,
        f"![Recall against seeds an issue]({NAME}.png)",
        *(part for space in comparison.spaces for part in _space(space, comparison)),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _space(seen: InSpace, comparison: SeedComparison) -> list[str]:
    rows = [
        [each.method, _seeds(each), *map(estimate, each.recall), _over(each), _spread(each), f"{each.nearest:.3f}"]
        for each in sorted(seen.found, key=lambda each: (each.asked is None, each.asked or 0))
    ]
    chosen = [each for each in seen.found if each.method in (BY_DATA, BY_SILHOUETTE)]
    numbers = [
        [issue, *(str(each.seeds[issue]) for each in chosen), str(seen.distinct[issue]), str(count)]
        for issue, count in comparison.pool.items()
    ]
    title, told = TITLES[seen.space]
    return [
        f"## {title}",
        f"{told} Near-duplicates, of a cosine above {comparison.near_duplicate:g}, leave "
        f"{sum(seen.distinct.values()):,} of {sum(comparison.pool.values()):,} segments.",
        grid(["way", "seeds an issue", *RATES, "over random at 2.5%, points", "draws at 2.5%", "cosine"], rows),
        "The number from the data:",
        grid(["issue", *(each.method.split(", ")[1] for each in chosen), "distinct", "pool"], numbers),
    ]


def _seeds(found: Found) -> str:
    low, high = min(found.seeds.values()), max(found.seeds.values())
    return str(low) if low == high else f"{low} to {high}"


def _over(found: Found) -> str:
    return percent(found.over_random[0]) if found.over_random else ""


def _spread(found: Found) -> str:
    if not found.draws:
        return ""
    first = [draw[0] for draw in found.draws]
    return f"{min(first):.3f} to {max(first):.3f}"


def plot(spaces: Sequence[InSpace], path: Path) -> Path:
    """Recall against seeds an issue: a row for each space, a panel for each pass rate, a line for each way."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11.0, 3.6 * len(spaces)), layout="constrained")
    rows = drawn.subplots(len(spaces), len(PASS_RATES), sharey="row", squeeze=False)
    for seen, panels in zip(spaces, rows, strict=True):
        for number, axes in enumerate(panels):
            _panel(seen.found, number, axes)
        panels[0].set_ylabel(f"{TITLES[seen.space][0].lower()}: recall")
    rows[0][-1].legend(fontsize=8, frameon=False, loc="lower right")
    return save(drawn, path)


def _panel(found: Sequence[Found], number: int, axes: "Axes") -> None:
    style(axes)
    whole = next(each for each in found if each.method == "all")
    sizes = sorted({each.asked for each in found if each.asked is not None})
    methods = list(dict.fromkeys(each.method for each in found if each.asked is not None))
    for place, method in enumerate(methods):
        own = sorted((each for each in found if each.method == method), key=lambda each: each.asked or 0)
        values = [each.recall[number] for each in own]
        sides = [[max(0.0, v.value - v.low) for v in values], [max(0.0, v.high - v.value) for v in values]]
        at = [(each.asked or 0) * 1.06 ** (place - 1) for each in own]  # side by side, or the bars hide one another
        axes.errorbar(at, [v.value for v in values], sides, label=method, capsize=2, marker="o", markersize=3)
    axes.axhline(whole.recall[number].value, color="#808080", linestyle="--", label="all")
    axes.set(xscale="log", xlabel="seeds an issue", title=f"pass rate {PASS_RATES[number]:.1%}")
    axes.set_xticks(sizes, labels=[str(size) for size in sizes])
    axes.minorticks_off()
