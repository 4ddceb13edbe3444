"""Figure 3's numbers, and what the report says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offline.paper.answers import TEMPLATES
from offline.paper.figure3 import Separation, Space, draw, separation
from offline.paper.measures import Population
from offline.paper.report import as_markdown, percent, write
from offline.paper.results import Counted, Model, Results
from offline.paper.runs import runs
from offline.paper.studies import table2, temperature_study
from offline.paper.table1 import best_of, gains, score_all, table1
from offline.statistics import Estimate
from tests.unit.offline.paper_sets import answers, policy, routed

SET = routed(repeats=3)
TRUTH = Population.of(SET)


@pytest.fixture(scope="module")
def results() -> Results:
    found = {run.name: answers(SET) for run in runs()}
    scored = score_all(runs(), found, found, policy())
    rng = np.random.default_rng(3)
    classifiers = [(share, rng.random(len(TRUTH.video))) for share in (1.0, 0.02)]
    return Results(
        test=Counted.of_routed(SET),
        calibration=Counted.of_routed(replace(SET, name="calibration")),
        table1=tuple(table1(scored, classifiers, TRUTH, 2)),
        table2=tuple(table2(found["phased"], policy(), 0.3, rounds=2)),
        temperature=tuple(temperature_study(found["phased"], policy(), rounds=2)),
        separations=(Separation("LLaVA", Estimate(0.9, 0.8, 0.95), 0.25),),
        gains=tuple(gains(scored, classifiers, TRUTH, 2)),
        models=(Model("phased", "f" * 16, 12.0, 1.0),),
        best="phased", fine_weight=0.3, classifier_c=(0.1, 1.0), separate=False, minutes=30.0, rounds=5,
        training_videos=8000, encoder="e" * 16, policy_hash="a" * 12, command="winnow lab tables --minutes 30",
    )  # fmt: skip


def test_table_1_has_the_papers_lines_and_ours(results: Results) -> None:
    text = as_markdown(results)
    first = text.split("## Table 1")[1].split("The same, over")[0]
    rows = [line for line in first.splitlines() if line.startswith("| M") or line.startswith("| L")][1:]
    assert len(rows) == 2 + 2 + 8 + 8
    everything = [row for row in rows if "Multi-task" in row and "| all |" in row]
    assert [row.split("|")[2].strip() for row in everything] == list(TEMPLATES)
    assert everything[1].endswith("| 68.73 | 87.68 | 61.29 |")
    few = [row for row in rows if "| 2% |" in row]
    assert len(few) == 9
    assert few[0].endswith("|  |  |  |"), "the paper has no classifier with few labels"
    assert few[5].endswith("| 66.33 | 86.90 | 59.94 |")
    assert "| LLaVA w/ caption | P2 | none |" in first


def test_it_says_what_it_is(results: Results) -> None:
    text = as_markdown(results)
    assert "Synthetic: says nothing about real content" in text
    assert "`winnow lab tables --minutes 30`" in text
    assert "18 of the 180 videos of `test` (9 violations, 27 pairs" in text
    assert "f" * 16 in text
    assert "one model learnt all four templates" in text
    assert "each template had a model of its own" in as_markdown(replace(results, separate=True))


def test_the_choice_is_made_on_calibration_traffic() -> None:
    found = {run.name: answers(SET) for run in runs()}
    knowing = answers(SET)
    for video, logits in zip(SET.videos, knowing.logits, strict=True):
        for prompt in logits:
            logits[prompt] = (3.0, 0.0) if video.truth else (0.0, 3.0)  # type: ignore[index]
    on_calibration = found | {"multi-task": knowing}
    assert best_of(score_all(runs(), found, on_calibration, policy()), share=1.0).run.name == "multi-task"
    on_test = found | {"multi-task": knowing}
    on_calibration = found | {"phased": knowing}
    assert best_of(score_all(runs(), on_test, on_calibration, policy()), share=1.0).run.name == "phased"


def test_files_are_whole(results: Results, tmp_path: Path) -> None:
    undefined = replace(results, separations=(Separation("LLaVA", Estimate(*(float("nan"),) * 3), 0.1),))
    markdown, data = write(undefined, tmp_path / "results")
    assert "not defined" in markdown.read_text()
    read = json.loads(data.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read["separations"][0]["probe"]["value"] is None
    assert len(read["table1"]) == 20
    assert percent(Estimate(0.7123, 0.66, 0.7611)) == "71.2 [66.0, 76.1]"


def test_spaces_are_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    guilty = np.arange(40) < 15
    weight, strata = np.ones(40), guilty.astype(int)
    noise = rng.normal(size=(40, 8)).astype(np.float32)
    apart = Space("apart", noise + 4 * guilty[:, None].astype(np.float32))
    mixed = Space("mixed", noise)
    far, near = (separation(space, guilty, weight, strata, rounds=20) for space in (apart, mixed))
    assert far.probe.value > 0.99
    assert 0.2 < near.probe.value < 0.8
    assert far.silhouette > 0.3 > near.silhouette
    assert separation(apart, np.arange(40) < 3, weight, strata, rounds=2).probe.value > 0.5, "with three folds"
    assert np.isnan(separation(mixed, np.arange(40) < 1, weight, strata).silhouette)
    drawn = draw([mixed, apart], guilty, tmp_path / "figure3.png")
    with Image.open(drawn) as picture:
        assert picture.width > 900
        colours = picture.convert("RGB").getcolors(1 << 20) or []
    assert len(colours) > 10
