"""The report of known observations: what it holds, what it says, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from offline.evaluation.cost import Window
from offline.evaluation.markdown import estimate, grid, percent, render
from offline.evaluation.pictures import draw
from offline.evaluation.report import About, Report, Run, as_json, build
from offline.statistics import Estimate
from services.contracts import ModelsUsed
from tests.unit.offline.decisions import observation
from tests.unit.offline.evaluation.cases import A, D, case

ABOUT = About("Evaluation: toys", "winnow lab evaluate --url U", "toys.jsonl", synthetic=True, traffic="by hand.")
WINDOWS = [
    Window(4, 0, {"gateway": 0.01, "router": 0.2, "ranker": 0.0}),
    Window(2, 2, {"gateway": 0.01, "router": 0.2, "ranker": 0.8}),
]
FULL_WINDOWS = [Window(0, 10, {"gateway": 0.02, "router": 0.5, "ranker": 40.0})]


@pytest.fixture(scope="module")
def report() -> Report:
    untitled = [observation("violation", 0.1, {A}, {A: (0.4, None), D: (0.1, None)}, name="v0")]
    runs = {
        "cascade": Run(case(), ("a.mp4: The file ends early.",), WINDOWS),
        "full": Run(case(full=True), (), FULL_WINDOWS),
        "no_title": Run([*untitled, *case()[3:]]),
    }
    return build(ABOUT, runs, rounds=30)


def test_the_report_holds_the_figures(report: Report) -> None:
    assert report.videos == {"look_alike": 2, "other": 5, "violation": 3}
    assert report.positives == {A: 2, D: 1}
    assert report.pass_rate.value == pytest.approx(0.4)
    assert set(report.systems) == {"router alone", "cascade", "full ranker"}
    assert report.costs["cascade"].by_service["ranker"].value == pytest.approx(1000 * 0.4 * 0.4, rel=0.05)
    assert report.costs["full ranker"].total.value == pytest.approx(4052)
    assert report.missing_modality["no_title"].found_change.value == pytest.approx(-1.0)
    assert set(report.groups) == {"kind", "issue", "look-alike kind", "issue that is resembled", "art style"}
    assert report.calibration is not None


def test_the_json_is_plain(report: Report) -> None:
    document = json.loads(as_json(report))
    assert document["groups"]["kind"]["violation"]["false_alarms"] == {"value": None, "low": None, "high": None}
    assert document["pass_rate"]["value"] == pytest.approx(0.4)
    assert document["about"]["command"] == ABOUT.command


def test_the_text_says_what_it_rests_on(report: Report) -> None:
    text = render(report, {"Recall": PurePath("toys-recall.png")})
    for part in (
        "# Evaluation: toys", "Synthetic: says nothing about real content.", "`winnow lab evaluate --url U`",
        "2 look_alike, 5 other, 3 violation", "| 5.0% | 0.000 [", "| **overall** | 4 | 2 |", "Noise floor",
        "| router alone | 66.67 [", "## Missing modality", "| no title | 8 | 1 | 100.00 [",
        "- cascade: a.mp4: The file ends early.", "![Recall](toys-recall.png)", "| a_alone | 0 | - | - | 1 |",
    ):  # fmt: skip
        assert part in text, part
    assert "nan" not in text
    real = render(replace(report, about=replace(ABOUT, synthetic=False)), {})
    assert "Synthetic" not in real


def test_cost_and_pass_rate_are_two_figures(report: Report) -> None:
    text = render(report, {})
    assert "the ranker's CPU time is 4.0% and that of all services" in text
    assert "## Cost" not in render(replace(report, costs={}), {})


def test_the_plots_are_files(report: Report, tmp_path: Path) -> None:
    plots = draw(report, tmp_path / "made", "toys")
    assert {path.name for path in plots.values()} == {"toys-recall.png", "toys-systems.png", "toys-reliability.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots.values())


def test_runs_of_different_rankers_are_not_compared() -> None:
    def by(ranker: str, *, full: bool = False) -> Run:
        used = ModelsUsed(ranker=ranker, encoder="e")
        return Run([replace(o, decision=o.decision.model_copy(update={"models": used})) for o in case(full=full)])

    with pytest.raises(ValueError, match="full was observed with the ranker r2, and cascade with r1"):
        build(ABOUT, {"cascade": by("r1"), "full": by("r2", full=True)}, rounds=2)


@pytest.mark.parametrize(("part", "said"), [(slice(3, None), "nothing to evaluate"), (slice(0, 3), "add clean ones")])
def test_one_class_alone_is_refused(part: slice, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(ABOUT, {"cascade": Run(case()[part])}, rounds=2)


def test_figures_are_written_with_their_intervals() -> None:
    nan = float("nan")
    assert estimate(Estimate(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert percent(Estimate(0.5, 0.25, 0.75), 1) == "50.0 [25.0, 75.0]"
    assert estimate(Estimate(nan, nan, nan)) == "-"
    assert estimate(Estimate(0.5, nan, nan)) == "0.500"
    assert grid(["a", "b"], [["x|y", "1"]]) == "| a | b |\n|---|---:|\n| x\\|y | 1 |\n"
