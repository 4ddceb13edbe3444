"""Figures on a case that can be worked out by hand."""

import numpy as np
import pytest

from offline.evaluation.errors import by_kind, by_label, by_own_issue, missing
from offline.evaluation.quality import OVERALL, by_issue, found_at_false_alarms, router_recall, systems
from offline.evaluation.table import NOT_ASKED, Table, common, table_of
from offline.evaluation.trust import calibration
from tests.unit.offline.decisions import observation
from tests.unit.offline.evaluation.cases import A, D, case

ROUNDS = 40


@pytest.fixture(scope="module")
def table() -> Table:
    return table_of(case())


def test_observations_become_arrays(table: Table) -> None:
    assert table.issues == (A, D)
    assert table.truth[:3].tolist() == [[True, False], [True, False], [False, True]]
    assert table.probability[0].tolist() == [0.9, NOT_ASKED]
    assert table.routed.tolist() == [True, True, False, True, True, *[False] * 5]
    assert table.flagged[:, 0].tolist() == [True, False, False, False, True, *[False] * 5]
    assert table.own(table.margin)[:3] == pytest.approx([0.4, 0.2, -0.2])
    assert np.isneginf(table.own(table.margin)[3:]).all()
    assert table.labels["look_alike"].tolist()[3:5] == ["a_alone", "a_with_c"]


def test_wrong_observations_are_refused() -> None:
    with pytest.raises(ValueError, match="no video was decided"):
        table_of([])
    with pytest.raises(ValueError, match="labels of tax_fraud"):
        table_of([observation("violation", 1.0, {"tax_fraud"}, {A: (0.5, None)})])
    with pytest.raises(ValueError, match="different issues"):
        table_of(
            [observation("other", 0.5, set(), {A: (0.5, None)}), observation("other", 0.5, set(), {D: (0.5, None)})]
        )


def test_router_recall(table: Table) -> None:
    # Margins: v0 +0.4, v1 and l0 +0.2 (a tie passes together or not at all), l1 +0.1.
    found = router_recall(table, (0.1, 0.2, 0.3, 0.4), rounds=ROUNDS)
    assert [each.value for each in found.values()] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert list(found) == ["10.0%", "20.0%", "30.0%", "40.0%"]


def test_quality_of_routed_traffic_counts_what_was_asked_alone(table: Table) -> None:
    found = by_issue(table, table.probability, table.asked, rounds=ROUNDS)
    assert list(found) == [OVERALL, A], "the ranker was asked about no video's drug abuse"
    # Scores 0.9 and 0.4 of violations, 0.3 and 0.7 of others.
    assert (found[A].videos, found[A].positives) == (4, 2)
    assert found[A].roc_auc.value == pytest.approx(0.75)
    assert found[A].pr_auc.value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found[A].max_f1.value == pytest.approx(0.8)
    assert found[OVERALL].pr_auc.low <= found[OVERALL].pr_auc.value <= found[OVERALL].pr_auc.high


def test_quality_of_all_traffic(table: Table) -> None:
    found = by_issue(table, table.probability, rounds=ROUNDS)
    assert (found[OVERALL].videos, found[OVERALL].positives) == (10, 3)
    # 0.9 above all, 0.4 above all but 0.7, the third with the five others.
    assert found[OVERALL].roc_auc.value == pytest.approx((7 + 6 + 2.5) / 21)
    assert found[D].roc_auc.value == pytest.approx(0.5)


def test_three_systems_on_the_same_videos() -> None:
    cascade, full = common(table_of(case()), table_of(case(full=True)))
    found = systems(cascade, full, rounds=ROUNDS)
    at = {name: (s.at_policy.found.value, s.at_policy.false_alarms.value) for name, s in found.items()}
    assert at["router alone"] == pytest.approx((2 / 3, 2 / 7))
    assert at["cascade"] == pytest.approx((1 / 3, 1 / 7))
    assert at["full ranker"] == pytest.approx((2 / 3, 1 / 7))
    # No clean video may be flagged: the router has one violation above them all, the full ranker two.
    assert [s.found_at["5.00%"].value for s in found.values()] == pytest.approx([1 / 3, 1 / 3, 2 / 3])


def test_what_the_ranker_did_not_see_is_never_flagged() -> None:
    score = np.array([NOT_ASKED, NOT_ASKED, 0.5])
    positive = np.array([True, False, False])
    assert found_at_false_alarms(score, score, positive, np.ones(3), 1.0) == 0.0


def test_ties_with_a_clean_video_that_must_not_be_flagged_are_not_found() -> None:
    score = np.array([0.9, 0.7, 0.7, 0.6, 0.2])
    positive = np.array([True, True, False, True, False])
    found = [found_at_false_alarms(score, score, positive, np.ones(5), rate) for rate in (0.0, 0.49, 0.5, 1.0)]
    assert found == pytest.approx([1 / 3, 1 / 3, 1.0, 1.0])


def test_errors_by_group(table: Table) -> None:
    kinds = by_kind(table, rounds=ROUNDS)
    assert kinds["violation"].found.value == pytest.approx(1 / 3)
    assert np.isnan(kinds["violation"].false_alarms.value)
    assert kinds["look_alike"].false_alarms.value == pytest.approx(0.5)
    assert kinds["other"].clean_passed.value == 0.0
    styles = by_label(table, "style", rounds=ROUNDS)
    assert (styles["noto"].violations, styles["noto"].clean) == (2, 6)
    assert styles["noto"].found.value == pytest.approx(0.5)
    assert styles["twemoji"].false_alarms.value == 1.0
    assert list(by_label(table, "look_alike", rounds=ROUNDS)) == ["a_alone", "a_with_c"]
    assert by_label(table, "variant", rounds=ROUNDS) == {}


def test_errors_by_issue_blame_the_issue_itself(table: Table) -> None:
    found = by_own_issue(table, rounds=ROUNDS)
    assert (found[A].violations, found[A].clean) == (2, 8)
    assert found[A].found.value == pytest.approx(0.5)
    assert found[A].false_alarms.value == pytest.approx(1 / 8)
    assert (found[D].found.value, found[D].false_alarms.value) == (0.0, 0.0)


def test_something_missing_is_compared_video_by_video(table: Table) -> None:
    worse = [
        o if o.id != "v0" else observation("violation", 0.1, {A}, {A: (0.4, None), D: (0.1, None)}, name="v0")
        for o in case()
    ]
    found = missing(*common(table, table_of(worse[:4])), rounds=ROUNDS)
    assert (found.videos, found.violations) == (4, 3)
    assert found.found_change.value == pytest.approx(-1 / 3)
    assert found.false_alarm_change.value == 0.0
    assert found.without.found.value == 0.0


def test_runs_without_a_common_video_are_not_compared(table: Table) -> None:
    with pytest.raises(ValueError, match="no video in common"):
        common(table, table_of([observation("other", 1.0, set(), {A: (0.1, None), D: (0.1, None)}, name="else")]))


def test_calibration_of_right_and_of_wrong_probabilities() -> None:
    rng = np.random.default_rng(3)
    level = rng.choice([0.1, 0.5, 0.9], size=4000)
    hit = rng.random(4000) < level

    def served(probability: np.ndarray) -> Table:
        return table_of(
            [
                observation("other", 1.0, {A} if h else set(), {A: (0.9, float(p))}, name=str(i))
                for i, (h, p) in enumerate(zip(hit, probability, strict=True))
            ]
        )

    right, wrong = (calibration(served(p), rounds=20) for p in (level, np.minimum(level + 0.1, 1.0)))
    assert right is not None
    assert wrong is not None
    assert (right.pairs, right.positives) == (4000, hit.sum())
    assert right.error.value < 0.03
    assert right.error.value < 4 * right.floor
    assert wrong.error.value == pytest.approx(0.1, abs=0.02)
    assert wrong.error.low <= wrong.error.value <= wrong.error.high


def test_nothing_routed_has_no_calibration() -> None:
    assert calibration(table_of(case()[-5:]), rounds=5) is None
