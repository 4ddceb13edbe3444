"""Scores of the router recipes, by hand."""

import numpy as np
import pytest

from offline.router.recipes import Roles, detector, own_score, pooled, product, search

OWNER = np.array([0, 0, 1])
VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
NAMES = ("knife", "cat", "child")
ISSUES = (Roles(("knife",), ("cat",)), Roles(("knife", "cat"), ("child",)))
LOGITS = np.array([[4, -4, -4], [-4, 4, -4], [4, 4, -1]], dtype=np.float32)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_a_search_takes_the_best_frame_and_the_best_seed() -> None:
    banks = [np.array([[1, 0], [0.8, 0.6]], dtype=np.float32), np.array([[-1, 0]], dtype=np.float32)]
    assert search(VECTORS, OWNER, banks) == pytest.approx(np.array([[1, 0], [0.96, -0.6]]), abs=1e-6)


def test_pooling_loses_what_one_frame_shows() -> None:
    made = pooled(VECTORS, OWNER)
    assert made == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [0.6, 0.8]]), abs=1e-6)
    assert search(made, np.arange(2), [np.array([[1, 0]], dtype=np.float32)])[0, 0] < 0.71


def test_a_detector_of_a_asks_for_nothing_else() -> None:
    assert detector(LOGITS, OWNER, NAMES, ISSUES) == pytest.approx(np.array([[4, 4], [4, 4]]))


def test_the_product_wants_both_in_one_frame() -> None:
    scores = product(LOGITS, OWNER, NAMES, ISSUES)
    assert scores[0, 0] == pytest.approx(sigmoid(4) * sigmoid(-4)), "in two frames"
    assert scores[1, 0] == pytest.approx(sigmoid(4) ** 2)
    assert scores[1, 1] == pytest.approx(sigmoid(4) * sigmoid(-1))


def test_only_the_issue_that_is_violated_counts_as_found() -> None:
    truth = [frozenset({"b"}), frozenset[str](), frozenset({"a", "b"})]
    own = own_score(np.array([[0.9, 0.1], [0.9, 0.9], [0.2, 0.3]]), truth, ("a", "b"))
    assert own.tolist() == [0.1, -np.inf, 0.3]
