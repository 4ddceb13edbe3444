"""Action volume and precision of made-up arms, worked out by hand; the report's text."""

from dataclasses import replace

import numpy as np
import pytest

from offline.evaluation.report import as_json
from offline.experiment.design import Arm, Design, ratio_check
from offline.experiment.outcome import ALL, Upshot, outcome
from offline.experiment.report import Report, render

A, D = "arson", "drug_abuse"


def upshot(arm: Arm, video: int, truth: set[str], actions: set[str]) -> Upshot:
    kind = "violation" if truth else "other"
    return Upshot(arm, video, kind, frozenset(truth), frozenset(actions))


def case() -> list[Upshot]:
    """Control acts on 4 of 100 for arson, 2 of them rightly; treatment on 6 of 200, 5 of them rightly, and on one of
    them for drug abuse too, which is wrong."""
    control = [upshot("control", n, {A}, {A}) for n in range(2)] + [upshot("control", n, set(), {A}) for n in (10, 11)]
    control += [upshot("control", 20 + n, set(), set()) for n in range(96)]
    treatment = [upshot("treatment", n, {A}, {A}) for n in range(4)] + [upshot("treatment", 4, {A}, {A, D})]
    treatment += [upshot("treatment", 10, set(), {A})]
    treatment += [upshot("treatment", 20 + n, set(), set()) for n in range(194)]
    return control + treatment


def test_volume_is_relative_to_the_size_of_the_arm() -> None:
    found, _ = outcome(case(), [A, D], rounds=400)
    arson = found[A]
    assert arson.actions == (4, 6)
    assert arson.volume_increase.value == pytest.approx(100 * (0.03 / 0.04 - 1))
    assert [each.value for each in arson.precision] == pytest.approx([0.5, 5 / 6])
    assert arson.precision_change.value == pytest.approx(100 / 3)
    assert arson.precision_change.low <= arson.precision_change.value <= arson.precision_change.high
    # An upload counts once for ALL, rightly where any issue that it is acted on for is right.
    assert found[ALL].actions == (4, 6)
    assert found[ALL].precision[1].value == pytest.approx(5 / 6)


def test_an_issue_on_which_the_control_never_acts_has_no_increase() -> None:
    found, average = outcome(case(), [A, D], rounds=400)
    assert found[D].actions == (0, 1)
    assert np.isnan(found[D].volume_increase.value)
    assert np.isnan(found[D].precision[0].value)
    assert found[D].precision[1].value == 0.0
    assert average.volume_increase.value == pytest.approx(-25.0), "the mean of the issues that have one"
    assert average.volume_increase == found[A].volume_increase
    assert average.precision[1].value == pytest.approx((5 / 6 + 0) / 2)
    assert average.precision[1].low < average.precision[1].value < average.precision[1].high


def test_a_video_that_was_uploaded_often_does_not_count_as_many() -> None:
    rng = np.random.default_rng(0)

    def arms(pool: int) -> list[Upshot]:
        drawn = rng.integers(pool, size=4000)
        return [
            upshot(
                "treatment" if n % 2 else "control", int(v), {A} if v % 4 == 0 else set(), {A} if v % 2 == 0 else set()
            )
            for n, v in enumerate(drawn)
        ]

    few, many = (outcome(arms(pool), [A], rounds=400)[0][A].precision[1] for pool in (16, 4000))
    assert few.high - few.low > 5 * (many.high - many.low)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for number in range(40):
        uploads = [
            upshot(
                "treatment" if treated else "control",
                n,
                {A},
                {A} if rng.random() < (0.3 if treated else 0.2) else set(),
            )
            for n, treated in enumerate(rng.random(800) < 0.5)
        ]
        found = outcome(uploads, [A], rounds=200, seed=number)[0][A].volume_increase
        covered += found.low <= 50.0 <= found.high
    assert 34 <= covered <= 40


def report(*, control: int = 100, treatment: int = 100) -> Report:
    found, average = outcome(case(), [A, D], rounds=50)
    ratio = ratio_check(control, treatment, Design(200))
    return Report(
        name="toys", command="winnow lab experiment", manifest="toys.jsonl", traffic="by hand.", synthetic=True,
        salt="s", rules={"control": "the router's risk reaches 0.9", "treatment": "the verdict is review or block"},
        models={"control": {"policy": "p1"}, "treatment": {"policy": "p2"}}, drawn=200, videos=(120, 130), ratio=ratio,
        trusted=ratio.passed, lines=found, average=average, cached=7,
        missing={"control": ["a.mp4: The file ends early."]},
    )  # fmt: skip


def test_the_report_has_the_form_of_table_3() -> None:
    text = render(report())
    for part in (
        "# Simulated online experiment: toys", "Synthetic: says nothing about real content.",
        "| arson | -25.0 [", "| drug_abuse | - | 0 | 1 | - | 0.0 [", "| **average** | -25.0 [",
        "| **all issues** |", "chi-square p = 1.", "7 were answered from a gateway's cache",
        "- control: a.mp4: The file ends early.", "policy `p1`",
    ):  # fmt: skip
        assert part in text, part
    assert "mismatch" not in text
    assert '"volume_increase": {\n        "value": null' in as_json(report())


def test_a_mismatch_is_said_plainly() -> None:
    text = render(report(control=160, treatment=40))
    assert "**Sample ratio mismatch (p below 0.001)" in text
    assert "No figure below can be trusted" in text
    assert "Synthetic" not in render(replace(report(), synthetic=False))
