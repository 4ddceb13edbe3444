"""The report of the router comparison."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from offline.demo_world.taxonomy import ISSUES
from offline.manifest import Labelled
from offline.router.compare import CURVE, Bank, Comparison, Measured, measure, recipe_scores
from offline.router.report import markdown, table, write
from offline.router.views import Views
from offline.statistics import Estimate
from offline.training.vocabulary import TAGS

SOME = Estimate(0.5, 0.25, 0.75)
ROW = Measured("Detector of A alone", (SOME, SOME, Estimate(1.0, 0.9, 1.0)), SOME, SOME, (0.5,) * len(CURVE))
FOUND = Comparison("abc", (16, 64), {"test": {"violation": 3, "look_alike": 2, "other": 1}}, {"test": (ROW,)})


def test_every_figure_has_its_interval() -> None:
    assert table((ROW,)).splitlines()[-1] == (
        "| Detector of A alone | 0.500 [0.250, 0.750] | 0.500 [0.250, 0.750] | 1.000 [0.900, 1.000] "
        "| 0.500 [0.250, 0.750] | 0.500 [0.250, 0.750] |"
    )


def test_the_report_says_how_it_was_made() -> None:
    text = markdown(FOUND, "winnow lab compare-router", {"test": "router_test.png"})
    for said in (
        "`winnow lab compare-router`", "Encoder abc", "16 seeds", "says nothing about real content",
        "3 violation videos, 2 look-alike videos, 1 other videos", "![Recall against pass rate](router_test.png)",
    ):  # fmt: skip
        assert said in text


def test_the_files(tmp_path: Path) -> None:
    path = write(FOUND, "winnow lab compare-router", tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["router.json", "router.md", "router_test.png"]
    read = json.loads((tmp_path / "router.json").read_text(encoding="utf-8"))
    assert read["measured"]["test"][0]["recall"][2] == {"value": 1.0, "low": 0.9, "high": 1.0}
    with Image.open(path.parent / "router_test.png") as picture:
        assert picture.width > 600


def rows(*kinds: str) -> list[Labelled]:
    return [
        Labelled(
            path=f"{i}.mp4", id=str(i), kind=kind, file=Path(f"{i}.mp4"),
            issues=(ISSUES[0].id,) if kind == "violation" else (),
        )
        for i, kind in enumerate(kinds)
    ]  # fmt: skip


def test_videos_count_as_in_traffic() -> None:
    scores = np.zeros((40, len(ISSUES)))
    scores[0, 0] = 1.0  # found
    scores[1, 1] = 0.9  # passes, for an issue that it does not violate
    scores[2, 0] = 0.1
    sample = rows("violation", "violation", "violation", *["look_alike"] * 7, *["other"] * 30)
    scores[3, 0] = 0.5  # 2.7 % of traffic
    found = measure("x", scores, sample, rounds=20)
    assert [round(each.value, 3) for each in found.recall] == [0.333, 0.667, 0.667]
    assert found.roc_auc.value > 0.9
    assert all(each.low <= each.value <= each.high for each in found.recall)


def test_recipes_by_what_the_model_has() -> None:
    count = len(ISSUES)
    owner = np.arange(count)
    eye = np.eye(count, dtype=np.float32)
    nothing = np.empty((count, 0), np.float32)
    tags = np.zeros((count, len(TAGS)), np.float32)
    full, plain = Views(owner, eye, eye, tags), Views(owner, eye, nothing, nothing)
    with_head = recipe_scores(full, Bank(full, full, owner), (1,), TAGS)
    without = recipe_scores(plain, Bank(plain, plain, owner), (1,), ())
    assert len(with_head) == 7
    assert len(without) == 4
    assert all("contrast" not in name and "Detector" not in name for name in without)
    assert next(iter(with_head)).startswith("Supervised contrast, by frame")
    for scores in without.values():
        assert (scores.argmax(axis=1) == owner).all(), "each video is what its own seed is"
