"""Writes the paper's tables as Markdown and JSON, ours beside what the paper prints. Pure but for `write`."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from offline.paper.published import TABLE1, TABLE2, Printed
from offline.paper.results import Counted, Line, Results
from offline.paper.studies import Measured
from offline.statistics import Estimate

MEASURE_NAMES = ("PR-AUC", "ROC-AUC", "Max-F1")
FIGURE = "figure3.png"


def write(results: Results, folder: Path) -> tuple[Path, Path]:
    """Write tables.md and tables.json; gives both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / "tables.md", folder / "tables.json"
    markdown.write_text(as_markdown(results), encoding="utf-8")
    data.write_text(json.dumps(_finite(asdict(results)), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return markdown, data


def percent(estimate: Estimate) -> str:
    """`71.2 [66.0, 76.1]`, in percent."""
    if not math.isfinite(estimate.value):
        return "not defined"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def as_markdown(results: Results) -> str:
    """The whole report."""
    return "\n\n".join(
        (
            "# The paper's tables in the demo world",
            "Synthetic: says nothing about real content. The columns under *paper* are what Filter-And-Refine prints, "
            "on private data that nobody else has: orders and gaps can be compared, values cannot.",
            _measured_on(results),
            "## Table 1: models, strategies and prompts\n\n" + _table1(results),
            "The same, over (video, issue asked) pairs: is it *this* issue? P1 does not name the issue, so that all "
            "pairs of a video share its score.\n\n" + _table1_pairs(results.table1),
            "## What the ranker adds\n\n" + _gains(results),
            "## Table 2: label assembly\n\n" + _table2(results),
            "## Temperature (section 5.4.1)\n\n" + _temperature(results),
            "## Figure 3: the last layer\n\n" + _figure3(results),
            "## How this was made\n\n" + _how(results),
        )
    ) + "\n"  # fmt: skip


def _measured_on(results: Results) -> str:
    return (
        f"Measured on the router's output, as in section 5.3: {_counted(results.test)} Everything that is chosen is "
        f"chosen on {_counted(results.calibration)}\n\nEach figure is value [low, high] in percent, with a 95 % "
        f"bootstrap interval ({results.rounds} rounds, videos redrawn within violations, look-alikes and others). A "
        "video's score is the highest of the issues asked about it, its label whether it violates any issue."
    )


def _counted(counted: Counted) -> str:
    return (
        f"{counted.videos} of the {counted.of} videos of `{counted.name}` ({counted.violations} violations, "
        f"{counted.pairs} pairs of video and issue; {counted.pass_rate:.2%} of traffic, {counted.recall:.1%} of its "
        f"violations; weighted to the mix, {counted.prevalence:.1%} of what is routed violates)."
    )


def _table1(results: Results) -> str:
    head = ["Model", "Prompt", "Labels", *MEASURE_NAMES, *(f"paper {name}" for name in MEASURE_NAMES)]
    rows = [
        [line.measured.name, line.measured.prompt or "-", _labels(line), *_figures(line.measured), *_printed(line)]
        for line in results.table1
    ]
    return (
        f"{table(head, rows)}\n\nThe paper prints one line for each ranker. Its rankers saw 2 % as many labels as its "
        "classifier, so that its figures stand beside both of ours."
    )


def _table1_pairs(lines: Sequence[Line]) -> str:
    rows = [
        [line.measured.name, line.measured.prompt or "-", _labels(line), *_figures(line.measured, pairs=True)]
        for line in lines
    ]
    return table(["Model", "Prompt", "Labels", *MEASURE_NAMES], rows)


def _labels(line: Line) -> str:
    return "none" if line.label_share == 0.0 else "all" if line.label_share == 1.0 else f"{line.label_share:.0%}"


def _printed(line: Line) -> list[str]:
    """The paper's figures, which for the classifier are those with all labels."""
    prompt = line.measured.prompt if line.row in ("phased", "multi_task") else ""
    return _three(None if line.row == "classifier" and line.label_share < 1.0 else TABLE1.get((line.row, prompt)))


def _three(printed: Printed | None) -> list[str]:
    return ["", "", ""] if printed is None else [f"{value:.2f}" for value in printed]


def _gains(results: Results) -> str:
    rows = [[each.ours, each.theirs, percent(each.gain)] for each in results.gains]
    text = table(["Ranker", "Compared with", "Relative gain in Max-F1, %"], rows)
    return (
        f"{text}\n\nThe prompt of each ranker is the one with the highest PR-AUC on calibration traffic. The paper "
        "says 66.50 % for a ranker with 2 % of the labels over a classifier with all of them."
    )


def _table2(results: Results) -> str:
    rows = [[each.name, *_figures(each), *_three(TABLE2.get(each.name))] for each in results.table2]
    head = ["Method", *MEASURE_NAMES, *(f"paper {name}" for name in MEASURE_NAMES)]
    pairs = table(["Method", *MEASURE_NAMES], [[each.name, *_figures(each, pairs=True)] for each in results.table2])
    return (
        f"P2 of `{results.best}`. Original is the overall answer alone. The fine-grained answer has the weight "
        f"{results.fine_weight:g} in the weighted sum.\n\n{table(head, rows)}\n\nOver pairs:\n\n{pairs}"
    )


def _temperature(results: Results) -> str:
    rows = [[each.name, *_figures(each), *_figures(each, pairs=True)] for each in results.temperature]
    head = ["Temperature", *MEASURE_NAMES, *(f"{name}, pairs" for name in MEASURE_NAMES)]
    spread = [
        max(values) - min(values)
        for values in zip(*(_values(each) for each in results.temperature), strict=True)
        if all(map(math.isfinite, values))
    ]
    told = ", ".join(f"{100 * s:.1f} ({name})" for s, name in zip(spread, MEASURE_NAMES, strict=False))
    return (
        f"P2 of `{results.best}`: p(Yes) = softmax(logits / temperature), then the policy's assembly. With a single "
        "answer (P1, P3) a temperature changes no ranking and none of these figures; with two it changes how they "
        f"add up. Between the lowest and the highest figure lie, in points: {told}.\n\n{table(head, rows)}"
    )


def _figure3(results: Results) -> str:
    rows = [[each.name, percent(each.probe), f"{each.silhouette:.3f}"] for each in results.separations]
    return (
        f"![Figure 3]({FIGURE})\n\nThe last layer's state where the answer to P1's question is read, of the same "
        "routed videos, placed by t-SNE. A picture of that sort proves little, so two numbers say how far the labels "
        "are apart: ROC-AUC of a linear probe (5-fold cross-validation), and the silhouette of the two classes "
        "(-1 to 1).\n\n" + table(["Model", "Linear probe, ROC-AUC", "Silhouette"], rows)
    )


def _how(results: Results) -> str:
    models = table(
        ["Run", "Minutes", "Labels", "Checkpoint (SHA-256)"],
        [
            [each.name, f"{each.minutes:.1f}", f"{each.label_share:.0%}", f"`{each.fingerprint}`"]
            for each in results.models
        ],
    )
    asked = "each template had a model of its own" if results.separate else "one model learnt all four templates"
    low, few = results.classifier_c
    return (
        f"`{results.command}`\n\n{models}\n\n"
        f"All rankers have the bundled ranker's shape and the router's frozen tower, and {results.training_videos} "
        f"training videos. {results.minutes:g} minutes is what a ranker gets beyond the zero-shot model, phased or "
        f"multi-task; {asked}. "
        "`zero-shot` learns from D1 alone and stands for a LLaVA as one downloads it; all others go on from it: "
        "`caption` with D1 and D2, each phased model from there with D3, the multi-task ones with all three. 2 % of "
        "the labels means D3 alone: the captions of D2 name the violations of every training video, as the paper's.\n\n"
        "The classifier is a logistic regression for each issue over the maximum and the mean of the router's frame "
        f"embeddings and TF-IDF of the title (C {low:g} with all labels, {few:g} with 2 %). The embeddings themselves "
        "were trained by contrast on the labels of many training videos, so that it knows more labels than its line "
        "says. It is not the paper's X-VLM.\n\n"
        f"Router `{results.encoder}`, policy `{results.policy_hash}`, sets `{results.test.key}` and "
        f"`{results.calibration.key}`. Frames are chosen, encoded as JPEG and asked about as in service, with and "
        "without the title."
    )


def _values(measured: Measured) -> tuple[float, float, float]:
    own = measured.videos
    return own.pr_auc.value, own.roc_auc.value, own.max_f1.value


def _figures(measured: Measured, *, pairs: bool = False) -> list[str]:
    own = measured.pairs if pairs else measured.videos
    return [percent(each) for each in (own.pr_auc, own.roc_auc, own.max_f1)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON has not."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
