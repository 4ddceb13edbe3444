"""The report of a calibrator: what was compared, and how reliable held-out probabilities are before and after."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offline.calibration import Candidate, Reliability, Samples, brier, held_out, reliability
from offline.plots import figure, save
from services.calibration import Calibrator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15
ESTIMATOR = (
    f"ECE: expected calibration error, {BINS} bins of equal weight, equal probabilities in one bin (adaptive, Nixon et "
    "al. 2019). Floor: what the same estimator gives on average for probabilities that are exactly right, labels drawn "
    "from them 200 times; an ECE near it cannot be told from none."
)


@dataclass(frozen=True)
class Row:
    """One line of the report: whose probabilities, their reliability and Brier score."""

    name: str
    found: Reliability
    brier: float


def rows_of(calibrator: Calibrator, samples: Samples) -> list[Row]:
    """The bare score, and the chosen map's probabilities of samples that it was not fitted on."""
    after = held_out(calibrator.pooled.method, samples)
    pairs = (("score, uncalibrated", samples.scores), (f"{calibrator.pooled.method}, held out", after))
    return [Row(name, reliability(p, samples, bins=BINS), brier(p, samples)) for name, p in pairs]


def draw(rows: Sequence[Row]) -> "Figure":
    """The reliability diagram: rate of violations against mean probability, a point for each bin, by its share."""
    drawn, axes = figure(width=5.0, height=5.0)
    axes.plot([0, 1], [0, 1], color="#808080", linewidth=0.8, linestyle="--")
    for row in rows:
        (line,) = axes.plot(row.found.predicted, row.found.observed, linewidth=1.0, label=row.name)
        axes.scatter(row.found.predicted, row.found.observed, s=300 * row.found.share + 6, color=line.get_color())
    axes.set(xlabel="mean probability", ylabel="rate of violations", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    return drawn


def render(
    calibrator: Calibrator, compared: Sequence[Candidate], rows: Sequence[Row], samples: Samples, command: str
) -> str:
    """The text of the report."""
    fitted = calibrator.fitted_for
    methods = "\n".join(
        f"| {each.method}{' (chosen)' if each.method == calibrator.pooled.method else ''} | {each.brier:.4f} | "
        f"{each.error:.4f} |"
        for each in compared
    )
    reliable = "\n".join(
        f"| {row.name} | {row.found.error:.4f} | {row.found.floor:.4f} | {row.brier:.4f} |" for row in rows
    )
    issues = "\n".join(
        f"| {issue} | {own.sum()} | {(own & samples.labels).sum()} | "
        f"{'its own' if issue in calibrator.issues else 'pooled'} |"
        for issue in sorted(set(samples.issues))
        for own in [samples.issues == issue]
    )
    return f"""# Calibration of {calibrator.id}

Made by `{command}`,
on routed traffic of the split `calibration`. Synthetic: says nothing about real content.

{len(samples)} pairs of a video and an issue that the ranker was asked about, {int(samples.labels.sum())} of them
violations, weighted to traffic. Ranker `{(fitted.model or "")[:16]}`, encoder `{fitted.encoder}`, bank
`{fitted.bank_revision}`, policy `{(fitted.policy_hash or "")[:16]}`.

| map | cross-validated Brier score | standard error |
|---|---:|---:|
{methods}

| probabilities | ECE | floor | Brier score |
|---|---:|---:|---:|
{reliable}

{ESTIMATOR}

![Reliability](calibration.png)

| issue | pairs | violations | map |
|---|---:|---:|---|
{issues}
"""


def write_report(
    calibrator: Calibrator, compared: Sequence[Candidate], samples: Samples, folder: Path, command: str
) -> Path:
    """Write calibration.md, calibration.json and calibration.png, made by `command`; gives the first's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows_of(calibrator, samples)
    save(draw(rows), folder / "calibration.png")
    told: dict[str, Any] = {
        "calibrator": calibrator.model_dump(mode="json"),
        "compared": [{"method": each.method, "brier": each.brier, "error": each.error} for each in compared],
        "reliability": [
            {"name": row.name, "ece": row.found.error, "floor": row.found.floor, "brier": row.brier,
             **{name: np.round(getattr(row.found, name), 6).tolist() for name in ("predicted", "observed", "share")}}
            for row in rows
        ],
    }  # fmt: skip
    (folder / "calibration.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    path = folder / "calibration.md"
    path.write_text(render(calibrator, compared, rows, samples, command), encoding="utf-8")
    return path
