"""From a score in [0, 1] to a probability: the four maps that calibrators are made of. Pure; fitted in `offline`."""

import bisect
import math
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from services.contracts import Probability, RequestModel

EPSILON = 1e-7
"""Scores are clipped to [EPSILON, 1 - EPSILON] before a logarithm is taken."""


class TemperatureMap(RequestModel):
    """sigmoid(logit(score) / temperature): above 1 it softens, below 1 it sharpens (Guo et al. 2017, section 4.2).

    0, 0.5 and 1 stay where they are.
    """

    method: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0.0, allow_inf_nan=False)

    def apply(self, score: float) -> float:
        """The probability, in [0, 1]."""
        if not 0.0 < score < 1.0:
            return 0.0 if score <= 0.0 else 1.0
        return _sigmoid(_logit(score) / self.temperature)


class PlattMap(RequestModel):
    """sigmoid(slope * logit(score) + intercept) (Platt 1999, on log-odds): another base rate shifts the intercept."""

    method: Literal["platt"] = "platt"
    slope: float = Field(ge=0.0, allow_inf_nan=False)
    intercept: FiniteFloat

    def apply(self, score: float) -> float:
        """The probability, in [0, 1]."""
        return _sigmoid(self.slope * _logit(score) + self.intercept)


class BetaMap(RequestModel):
    """sigmoid(a ln(score) - b ln(1 - score) + c) (Kull et al. 2017): a slope of its own at either end."""

    method: Literal["beta"] = "beta"
    a: float = Field(ge=0.0, allow_inf_nan=False)
    b: float = Field(ge=0.0, allow_inf_nan=False)
    c: FiniteFloat

    def apply(self, score: float) -> float:
        """The probability, in [0, 1]."""
        clipped = min(1.0 - EPSILON, max(EPSILON, score))
        return _sigmoid(self.a * math.log(clipped) - self.b * math.log1p(-clipped) + self.c)


class IsotonicMap(RequestModel):
    """A curve that never falls, linear between its knots and flat beyond them (Zadrozny and Elkan 2002)."""

    method: Literal["isotonic"] = "isotonic"
    scores: tuple[Probability, ...] = Field(min_length=1, max_length=10_000, description="Of the knots, ascending.")
    probabilities: tuple[Probability, ...] = Field(description="At the knots, never falling.")

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if len(self.scores) != len(self.probabilities):
            raise ValueError("every knot needs a score and a probability")
        if any(a >= b for a, b in zip(self.scores, self.scores[1:], strict=False)):
            raise ValueError("the scores of the knots must ascend")
        if any(a > b for a, b in zip(self.probabilities, self.probabilities[1:], strict=False)):
            raise ValueError("the probabilities of the knots must not fall")
        return self

    def apply(self, score: float) -> float:
        """The probability, in [0, 1]."""
        after = bisect.bisect_right(self.scores, score)
        if after in (0, len(self.scores)):
            return self.probabilities[0 if after == 0 else -1]
        left, right = self.scores[after - 1], self.scores[after]
        low, high = self.probabilities[after - 1], self.probabilities[after]
        return low + (high - low) * (score - left) / (right - left)


ScoreMap = Annotated[TemperatureMap | PlattMap | BetaMap | IsotonicMap, Field(discriminator="method")]


def _logit(score: float) -> float:
    clipped = min(1.0 - EPSILON, max(EPSILON, score))
    return math.log(clipped) - math.log1p(-clipped)


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
