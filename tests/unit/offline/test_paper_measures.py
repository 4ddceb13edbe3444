"""What is counted in the paper's tables, by video and by pair."""

import numpy as np
import pytest

from offline.paper.measures import Population
from offline.paper.studies import METHODS, TEMPERATURES, chosen_weight, table2, temperature_study
from offline.statistics import max_f1, pr_auc, roc_auc
from tests.unit.offline.paper_sets import WEIGHTS, answers, policy, routed

TRUTH = Population.of(routed())
# v0: two pairs, v1, v2, l0: one, l1: three, o0: one
SCORES = np.array([0.2, 0.9, 0.7, 0.1, 0.8, 0.3, 0.6, 0.5, 0.4])


def test_truth_of_videos_and_of_pairs() -> None:
    assert TRUTH.guilty.tolist() == [True, True, True, False, False, False]
    # v2 violates an issue that is not asked about: a violation, though none of its pairs is
    assert TRUTH.pair_guilty.tolist() == [True, False, True, False, False, False, False, False, False]
    assert TRUTH.video.tolist() == [0, 0, 1, 2, 3, 4, 4, 4, 5]
    assert len(set(TRUTH.strata[:3])) == 1
    assert len(set(TRUTH.strata)) == 3


def test_the_highest_pair_is_the_videos_score() -> None:
    assert TRUTH.by_video(SCORES).tolist() == [0.9, 0.7, 0.1, 0.8, 0.6, 0.4]


def test_pairs_of_redrawn_videos() -> None:
    assert TRUTH.pairs_of(np.array([4, 0, 4])).tolist() == [5, 6, 7, 0, 1, 5, 6, 7]
    assert TRUTH.pairs_of(np.array([2])).tolist() == [3]


def test_the_figures_are_weighted_and_in_their_order() -> None:
    weight = np.array(WEIGHTS)
    videos, pairs = TRUTH.videos(SCORES, rounds=20), TRUTH.pairs(SCORES, rounds=20)
    score = np.array([0.9, 0.7, 0.1, 0.8, 0.6, 0.4])
    assert videos.pr_auc.value == pytest.approx(pr_auc(score, TRUTH.guilty, weight))
    assert videos.roc_auc.value == pytest.approx(roc_auc(score, TRUTH.guilty, weight))
    assert videos.max_f1.value == pytest.approx(max_f1(score, TRUTH.guilty, weight))
    assert pairs.roc_auc.value == pytest.approx(roc_auc(SCORES, TRUTH.pair_guilty, weight[TRUTH.video]))
    assert videos.pr_auc.low <= videos.pr_auc.value <= videos.pr_auc.high


def test_gain_is_relative_and_paired() -> None:
    perfect = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    nothing = np.zeros(9)
    weight = np.array(WEIGHTS)
    base = 2 * 0.3 / (0.3 + weight.sum())  # everything is called a violation
    assert TRUTH.gain(perfect, nothing, rounds=5).value == pytest.approx(1 / base - 1)
    same = TRUTH.gain(SCORES, SCORES, rounds=20)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_table_2_and_the_temperatures() -> None:
    found = answers(routed(repeats=2))
    lines = table2(found, policy(), 0.5, rounds=2)
    assert [line.name for line in lines] == [name for _, name in METHODS]
    assert len({line.videos.pr_auc.value for line in lines}) > 2
    served = temperature_study(found, policy(), rounds=2)[TEMPERATURES.index(1.0)]
    assert served.videos.pr_auc.value == pytest.approx(lines[3].videos.pr_auc.value), "the policy's weighted sum"


def test_the_weight_that_ranks_best_is_chosen() -> None:
    found = answers(routed(repeats=10))
    fine = {issue.id: f"Does this video show {issue.name}? Answer Yes or No." for issue in policy().slice(None).issues}
    for video, asked, logits in zip(found.routed.videos, found.routed.asked, found.logits, strict=True):
        for prompt in logits:  # the fine-grained answers know everything, the others nothing
            if any(prompt.endswith(fine[each]) for each in asked):
                logits[prompt] = (1.0, 0.0) if video.truth else (0.0, 1.0)  # type: ignore[index]
    assert chosen_weight(found, policy()) >= 0.7
