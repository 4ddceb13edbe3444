"""The report on the choice of seeds, and the page that repeats the reports."""

import json
from pathlib import Path
from typing import Any

import offline
from offline.demo_world.splits import Counts
from offline.demo_world.taxonomy import ISSUES
from offline.selection.banks import IDS
from offline.selection.compare_seeds import Found, InSpace, SeedComparison
from offline.selection.seeds_report import markdown, plot
from offline.statistics import Estimate

ROOT = Path(offline.__path__[0]).parent
RESULTS = ROOT / "docs" / "results"

SOME = Estimate(0.5, 0.25, 0.75)
COMPARED = SeedComparison(
    "abc", dict.fromkeys(IDS, 7), 0.99, Counts(3, 2, 1),
    (
        InSpace(
            "served", dict.fromkeys(IDS, 6),
            (
                Found("random", 4, dict.fromkeys(IDS, 4), (SOME,) * 3, (), ((0.4, 0.5, 0.6), (0.6, 0.7, 0.8)), 0.9),
                Found("farthest-first", 4, dict.fromkeys(IDS, 4), (SOME,) * 3, (SOME,) * 3, (), 0.9),
                Found("all", None, dict.fromkeys(IDS, 7), (SOME,) * 3, (), (), 1.0),
            ),
        ),
    ),
)  # fmt: skip


def test_the_report_says_how_it_was_made_and_shows_every_figure(tmp_path: Path) -> None:
    text = markdown(COMPARED, "winnow lab compare-seeds")
    assert "| random | 4 | 0.500 [0.250, 0.750] |" in text
    assert "0.400 to 0.600" in text
    assert "`winnow lab compare-seeds`" in text
    assert "says nothing about real content" in text
    assert "| 50.00 [25.00, 75.00] |" in text
    assert f"leave {6 * len(ISSUES)} of {7 * len(ISSUES)} segments" in text
    assert plot(COMPARED.spaces, tmp_path / "plot.png").stat().st_size > 1000


def test_the_page_repeats_the_reports() -> None:
    page = (ROOT / "docs" / "lab" / "seeds.md").read_text(encoding="utf-8")
    served, plain = (each["found"] for each in json.loads((RESULTS / "selection.json").read_text())["spaces"])
    kinds = json.loads((RESULTS / "kinds.json").read_text())

    def recall(found: list[dict[str, Any]], method: str, asked: int | None) -> str:
        row = next(each for each in found if (each["method"], each["asked"]) == (method, asked))
        return f"{row['recall'][0]['value']:.3f}"

    shown = [recall(served, *row) for row in (("centroid-proximity", 16), ("random", 16), ("all", None))]
    shown += [
        recall(plain, *row)
        for row in (("centroid-proximity", 16), ("random", 16), ("farthest-first", 16), ("all", None))
    ]
    shown += [f"{row['pass_rate'][1]['value']:.2%}"[:-1] for row in kinds["negatives"]["rows"] if row["rule"] is None]
    rules = {(0.5, 0.5): 36, (0.5, 0.75): 38, (1.0, 0.9): 45}
    for row in kinds["reuploads"]["rows"]:
        key = (row["rule"]["weight"], row["rule"]["margin"]) if row["rule"] else None
        if key in rules:
            assert rules[key] == round(100 * row["reuploads"]["value"])
            shown.append(f"{rules[key]} %")
    shown += [f"{each['value']:.3f}" for each in kinds["one_frame"][-1]["by_frame"]]
    for row in kinds["texts"]["rows"]:
        if row["issue"] == "all issues" and row["seeds"] != "golden seeds":
            shown += [f"{each['value']:.3f}" for each in row["among"]]
    assert [each for each in shown if each not in page] == []
    assert len(shown) == 20
