"""The report on kinds of seeds: negatives, violations in one frame, and sentences. Markdown and JSON."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from offline.demo_world.splits import Counts
from offline.evaluation.markdown import estimate, grid, percent
from offline.router.compare import PASS_RATES
from offline.selection.banks import MARGIN, WEIGHT
from offline.selection.negatives import CHOSEN_AT, MARGINS, RECALLS, WEIGHTS, Negatives, Passed, Rule
from offline.selection.one_frame import FRAMES, OneFrame
from offline.selection.reuploads import FORMS, RECALL, Reuploads
from offline.selection.seeds_report import HOW, RATES, made
from offline.selection.texts import Texts

NAME = "kinds"


@dataclass(frozen=True)
class Kinds:
    """The whole report.

    Attributes:
        encoder: fingerprint.
        golden: golden seeds of an issue.
        counts: videos of the split `test`.
        negatives: whether look-alikes lower the pass rate on others.
        reuploads: whether they stop themselves.
        one_frame: whether a violation in one frame is found.
        texts: what sentences catch; None where the encoder takes none.
    """

    encoder: str
    golden: int
    counts: Counts
    negatives: Negatives
    reuploads: Reuploads
    one_frame: tuple[OneFrame, ...]
    texts: Texts | None


def write(kinds: Kinds, command: str, out: Path) -> Path:
    """Write kinds.md and kinds.json into `out`; gives the Markdown's path."""
    out.mkdir(parents=True, exist_ok=True)
    document = {"command": command, "pass_rates": PASS_RATES, "recalls": RECALLS, **asdict(kinds)}
    # NaN is not JSON.
    text = json.dumps(document, indent=2).replace("NaN", "null")
    (out / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")
    path = out / f"{NAME}.md"
    path.write_text(markdown(kinds, command), encoding="utf-8")
    return path


def markdown(kinds: Kinds, command: str) -> str:
    """The report's text."""
    parts = [
        "# Kinds of seeds",
        made(command, kinds.encoder, kinds.counts),
        "What do negative seeds, searching by frame, and sentences give? The golden seeds are the first "
        f"{kinds.golden} of each issue in the split `bank`, unchosen.",
        HOW,
        *_negatives(kinds.negatives),
        *_reuploads(kinds.reuploads),
        *_one_frame(kinds.one_frame),
        *(_texts(kinds.texts, kinds.golden) if kinds.texts else ()),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _negatives(found: Negatives) -> list[str]:
    told = "; ".join(f"*{name}*: {_range(own.values())} an issue" for name, own in found.seeds.items())
    at = f"{RECALLS[CHOSEN_AT]:.0%}"
    heads = [
        "bank",
        *(f"pass rate at recall {recall:.0%}, %" for recall in RECALLS),
        "less than without, points",
        *RATES,
    ]
    return [
        "## Negative seeds: pass rate at equal recall, on other look-alikes",
        f"Negatives are look-alikes of the split `calibration` ({told}): the shot that shows something of the issue. "
        f"*nearest* are those that resemble the issue's golden seeds most. The router's defaults are a weight of "
        f"{WEIGHT:g} and a margin of {MARGIN:g}. The last row has the set, weight and margin that pass least at {at} "
        "recall on other videos of `calibration`. *Less*: at the same recall, paired, in percentage points.",
        grid(heads, [_negative_row(each) for each in found.rows]),
        f"Pass rate on `test` at {at} recall, in percent, by weight and margin (shown, and not what was chosen by):",
        *(_by_rule(name, found) for name in found.seeds),
    ]


def _range(counts: Collection[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _negative_row(row: Passed) -> list[str]:
    rule = row.rule
    name = f"{rule.negatives}, weight {rule.weight:g}, margin {rule.margin:g}" if rule else "without negatives"
    less = percent(row.less[CHOSEN_AT]) if row.less else ""
    return [name, *map(percent, row.pass_rate), less, *map(estimate, row.recall)]


def _by_rule(name: str, found: Negatives) -> str:
    values = dict(found.grid)
    rows = [
        [f"{weight:g}", *(f"{100 * values[Rule(name, weight, margin)]:.2f}" for margin in MARGINS)]
        for weight in WEIGHTS
    ]
    return grid([f"*{name}*: weight", *(f"margin {margin:g}" for margin in MARGINS)], rows)


def _reuploads(found: Reuploads) -> list[str]:
    rows = [
        [
            f"weight {each.rule.weight:g}, margin {each.rule.margin:g}" if each.rule else "without negatives",
            percent(each.reuploads),
            percent(each.pass_rate),
        ]
        for each in found.rows
    ]
    return [
        "## Negative seeds: look-alikes that come back",
        f"Of {found.candidates} look-alikes of `calibration` the router sends {found.marked} on at {RECALL:.0%} "
        "recall. Each becomes a negative of the issue that it passed for: the shot that holds the nearest frame, as an "
        f"operator would mark it. They are uploaded again in other forms ({', '.join(FORMS)}; {found.videos} videos). "
        f"At thresholds that find {RECALL:.0%} of the violations of `test`, which share of the re-uploads passes, and "
        "how much of the traffic of `test`, in which they are not?",
        grid(["bank", "re-uploads that pass, %", "pass rate of `test`, %"], rows),
    ]


def _one_frame(found: tuple[OneFrame, ...]) -> list[str]:
    rows = [
        [each.name, way, str(each.videos), *map(estimate, recall)]
        for each in found
        for way, recall in (("by frame", each.by_frame), ("pooled", each.pooled))
    ]
    return [
        "## A violation that shows in one sampled frame",
        f"The router looks at {FRAMES} frames of a short video. No violation of `test` shows in one of them alone, so "
        f"that such are made: *cut* are clips of `test` whose first or last {FRAMES}th alone is of the violating shot. "
        "Each sort takes the place of the violations in the traffic. *By frame* is served: the nearest seed of any "
        "frame. *Pooled*: means over the frames of a video and of a seed.",
        grid(["violations", "search", "videos", *RATES], rows),
    ]


def _texts(found: Texts, golden: int) -> list[str]:
    rows = [[each.issue, each.seeds, *map(estimate, (*each.among, *each.alone))] for each in found.rows]
    sentences = [f"- {issue}: {'; '.join(own)}" for issue, own in found.sentences.items()]
    most = max(map(len, found.sentences.values()))
    return [
        "## Sentences for an issue that has no video seed",
        f"The issue has {most} sentences, {golden} golden seeds, or the sentences in the space that the model's image "
        "and text tower share, without its heads (*CLIP's space*). First recall of the issue's violations where the "
        "other issues have golden seeds and so much of traffic passes in all; then by the risk of this issue alone, "
        "where so much passes for it. *All issues*: the whole bank is of these seeds; then the mean over the issues.",
        grid(["issue", "seeds", *(f"{rate}, in all" for rate in RATES), *(f"{rate}, for it" for rate in RATES)], rows),
        "The sentences:",
        "\n".join(sentences),
    ]
