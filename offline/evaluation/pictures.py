"""The plots of an evaluation's report."""

from collections.abc import Mapping
from pathlib import Path

from offline.evaluation.report import Report
from offline.evaluation.trust import Calibration
from offline.plots import figure, save
from offline.statistics import Estimate


def draw(report: Report, folder: Path, name: str) -> dict[str, Path]:
    """Write the plots as `NAME-*.png`; captions and files."""
    drawn = {
        "Router recall against pass rate": _recall(report, folder / f"{name}-recall.png"),
        "What is found against what is flagged": _systems(report, folder / f"{name}-systems.png"),
    }
    if report.calibration is not None:
        drawn["Reliability of the ranker's probabilities"] = _reliability(
            report.calibration, folder / f"{name}-reliability.png"
        )
    return drawn


def _band(figures: Mapping[str, Estimate]) -> tuple[list[float], list[float], list[float], list[float]]:
    x = [float(rate.rstrip("%")) for rate in figures]
    values = list(figures.values())
    return x, [100 * v.value for v in values], [100 * v.low for v in values], [100 * v.high for v in values]


def _recall(report: Report, path: Path) -> Path:
    drawn, axes = figure()
    x, value, low, high = _band(report.recall_curve)
    axes.plot(x, value, marker="o", markersize=3)
    axes.fill_between(x, low, high, alpha=0.2)
    axes.set(xscale="log", xlabel="pass rate, % of traffic", ylabel="recall of the router, %", ylim=(0, 102))
    axes.xaxis.set_major_formatter("{x:g}")
    return save(drawn, path)


def _systems(report: Report, path: Path) -> Path:
    drawn, axes = figure()
    for name, system in report.systems.items():
        x, value, low, high = _band(system.found_at)
        (line,) = axes.plot(x, value, marker="o", markersize=3, label=name)
        axes.fill_between(x, low, high, alpha=0.15, color=line.get_color())
        point = system.at_policy
        if point.false_alarms.value > 0:
            axes.plot(100 * point.false_alarms.value, 100 * point.found.value, marker="D", color=line.get_color())
    axes.set(
        xscale="log", xlabel="clean traffic flagged, % (diamonds: the policy's thresholds)",
        ylabel="violations found, %", ylim=(0, 102),
    )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False)
    return save(drawn, path)


def _reliability(found: Calibration, path: Path) -> Path:
    drawn, axes = figure(width=4.5, height=4.5)
    axes.plot([0, 1], [0, 1], color="#808080", linewidth=0.8)
    axes.scatter(found.predicted, found.observed, s=[10 + 300 * each for each in found.share])
    axes.set(xlabel="mean probability of a bin", ylabel="rate of violations", xlim=(0, 1), ylim=(0, 1))
    return save(drawn, path)
