"""Table 2 and the temperature study: the same answers, assembled and tempered in other ways. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offline.paper.answers import Answered, pair_scores
from offline.paper.measures import ROUNDS, Figures, Population
from offline.statistics import pr_auc
from services.contracts import Assembly, PromptName
from services.contracts.base import AssemblyMethod
from services.policy import Policy

METHODS: tuple[tuple[AssemblyMethod, str], ...] = (
    ("original", "Original"),
    ("union", "Union"),
    ("maximum", "Maximum"),
    ("weighted_sum", "Weighted sum"),
    ("bayesian", "Bayesian fusion"),
)
TEMPERATURES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
FINE_WEIGHTS = tuple(round(0.1 * step, 1) for step in range(1, 10))


@dataclass(frozen=True)
class Measured:
    """A line of a table: what was measured, over videos and over (video, issue asked) pairs."""

    name: str
    prompt: str
    videos: Figures
    pairs: Figures


def chosen_weight(calibration: Answered, policy: Policy) -> float:
    """Weight of the fine-grained answer with the highest PR-AUC over videos, on routed calibration traffic."""
    truth = Population.of(calibration.routed)

    def quality(weight: float) -> float:
        assembly = Assembly(method="weighted_sum", fine_weight=weight)
        score = truth.by_video(pair_scores(calibration, policy, "P2", assembly=assembly))
        return float(np.nan_to_num(pr_auc(score, truth.guilty, truth.weight)))

    return max(FINE_WEIGHTS, key=quality)


def table2(test: Answered, policy: Policy, fine_weight: float, *, rounds: int = ROUNDS) -> list[Measured]:
    """The five assembly methods on the answers to P2."""
    truth = Population.of(test.routed)
    lines = []
    for method, name in METHODS:
        scores = pair_scores(test, policy, "P2", assembly=Assembly(method=method, fine_weight=fine_weight))
        lines.append(Measured(name, "P2", truth.videos(scores, rounds=rounds), truth.pairs(scores, rounds=rounds)))
    return lines


def temperature_study(
    test: Answered,
    policy: Policy,
    template: PromptName = "P2",
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    rounds: int = ROUNDS,
) -> list[Measured]:
    """The policy's assembly of p(Yes) at several temperatures (Filter-And-Refine, section 5.4.1)."""
    truth = Population.of(test.routed)
    lines = []
    for temperature in temperatures:
        scores = pair_scores(test, policy, template, temperature=temperature)
        lines.append(
            Measured(
                f"{temperature:g}", template, truth.videos(scores, rounds=rounds), truth.pairs(scores, rounds=rounds)
            )
        )
    return lines
