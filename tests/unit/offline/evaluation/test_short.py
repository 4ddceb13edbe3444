"""The report, on a case small enough to be worked out by hand."""

import io

import pytest
from rich.console import Console

from offline.evaluation.collect import Observation
from offline.evaluation.short import evaluate, margins, print_report
from tests.unit.offline.decisions import observation


@pytest.fixture(scope="module")
def case() -> list[Observation]:
    """Ten videos that stand for equal shares of traffic. Thresholds are 0.5; margins in the comments."""
    return [
        # Found: +0.4 for its own issue.
        observation("violation", 0.1, {"arson"}, {"arson": (0.9, 0.9), "drug_abuse": (0.1, None)}),
        # Escalates (+0.3) for another issue, and the ranker blames that one: not found. For its own -0.1.
        observation("violation", 0.1, {"arson"}, {"arson": (0.4, 0.2), "drug_abuse": (0.8, 0.6)}),
        # Filtered: -0.2.
        observation("violation", 0.1, {"drug_abuse"}, {"arson": (0.1, None), "drug_abuse": (0.3, None)}),
        # Escalates (+0.2), the ranker clears it.
        observation("look_alike", 0.1, set(), {"arson": (0.7, 0.3), "drug_abuse": (0.2, None)}),
        # Escalates (+0.1), a false alarm.
        observation("look_alike", 0.1, set(), {"arson": (0.6, 0.7), "drug_abuse": (0.2, None)}),
        *[
            observation("other", 0.1, set(), {"arson": (0.0, None), "drug_abuse": (0.1 + i / 100, None)})
            for i in range(5)
        ],
    ]


def test_margins(case: list[Observation]) -> None:
    assert margins(case[0]) == pytest.approx((0.4, 0.4))
    assert margins(case[1]) == pytest.approx((0.3, -0.1))
    assert margins(case[3])[0] == pytest.approx(0.2)
    assert margins(case[3])[1] == float("-inf")


def test_the_figures_of_a_hand_made_case(case: list[Observation]) -> None:
    report = evaluate(case, "test")
    assert report.split == "test"
    assert report.videos == {"violation": 3, "look_alike": 2, "other": 5}
    assert report.pass_rate.value == pytest.approx(0.4)
    assert report.cascade_recall.value == pytest.approx(1 / 3)
    assert report.false_alarms.value == pytest.approx(1 / 7)
    # Routed: positives score 0.9 and 0.6, negatives 0.3 and 0.7: three of four pairs are in order.
    assert report.ranker_auc.value == pytest.approx(0.75)
    # At 10 % the one video with the largest margin passes, and it is a violation that passes for its own issue.
    assert {rate: found.value for rate, found in report.recall.items()} == pytest.approx(
        {"2.5%": 0.0, "5.0%": 0.0, "10.0%": 1 / 3}
    )


def test_weights_count(case: list[Observation]) -> None:
    heavy = [Observation(o.kind, o.truth, o.decision, 0.9 if o.kind == "other" else o.weight) for o in case]
    report = evaluate(heavy, "test")
    # 0.4 of 0.5 + 5 * 0.9.
    assert report.pass_rate.value == pytest.approx(0.4 / 5.0)
    assert report.false_alarms.value == pytest.approx(0.1 / 4.7)
    assert report.cascade_recall.value == pytest.approx(1 / 3)
    # 0.1 of 5.0 is 2 %.
    assert report.recall["2.5%"].value == pytest.approx(1 / 3)


def test_thresholds_of_the_policy_enter_the_margin() -> None:
    from tests.unit.offline.decisions import decision, issue

    made = decision(issue("arson", risk=0.6, threshold=0.9), issue("drug_abuse", risk=0.5, threshold=0.45))
    assert margins(Observation("violation", frozenset({"arson"}), made, 1.0)) == pytest.approx((0.05, -0.3))


def test_intervals_contain_their_values(case: list[Observation]) -> None:
    report = evaluate(case * 8, "test")
    for estimate in (report.pass_rate, report.cascade_recall, report.false_alarms, report.ranker_auc):
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high
    assert report.cascade_recall.low > 0


def test_the_table_says_what_it_rests_on(case: list[Observation]) -> None:
    console = Console(file=io.StringIO(), width=120)
    print_report(evaluate(case, "test_openmoji"), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("test_openmoji", "3 violation, 2 look-alike, 5 other", "Synthetic", "0.750 [", "pass rate of 10.0%"):
        assert part in text
