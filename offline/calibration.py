"""Fits calibrators on routed traffic: four maps, pooled or an issue's own, chosen by cross-validated Brier score.

Routed traffic is what the ranker is asked about: calibrated elsewhere, probabilities would mean something else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from offline.statistics import Bools, Floats
from services.calibration import BetaMap, Calibrator, FittedFor, IsotonicMap, PlattMap, ScoreMap, TemperatureMap
from services.calibration.maps import EPSILON

Method = Literal["temperature", "platt", "beta", "isotonic"]
METHODS: tuple[Method, ...] = ("temperature", "platt", "beta", "isotonic")
"""The simplest first: of two that measure alike the first one wins."""
LEAST_FOR_ISOTONIC = 1000
"""Samples below which isotonic regression overfits (scikit-learn's own advice)."""
LEAST_OF_AN_ISSUE = 100
"""Positives, and as many negatives, from which on an issue gets a map of its own."""
INTERCEPT_SPREAD = 1.0
"""Standard deviation, in log-odds, that an issue's intercept is expected to have: the prior that shrinks it to 0."""
_UNBOUND = 1e3
"""Scale of a regression's column whose coefficient is not to be shrunk."""
_FOLDS, _REPEATS = 5, 4


@dataclass(frozen=True)
class Samples:
    """Judged pairs of a video and an issue.

    Attributes:
        scores: [n] in [0, 1], assembled.
        labels: [n], whether the video violates the issue.
        weights: [n], how much of traffic each stands for.
        issues: [n], ids.
    """

    scores: Floats
    labels: Bools
    weights: Floats
    issues: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, kept: "np.ndarray") -> "Samples":
        """Those at these indices, or where it is true."""
        return Samples(self.scores[kept], self.labels[kept], self.weights[kept], self.issues[kept])


@dataclass(frozen=True)
class Candidate:
    """A way to calibrate and its cross-validated Brier score with the standard error over repetitions."""

    method: Method
    brier: float
    error: float


def _logit(score: Floats) -> Floats:
    clipped = np.clip(score, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)


def _regress(columns: Floats, samples: Samples, *, intercept: bool) -> tuple[Floats, float]:
    """Coefficients and intercept of a weighted logistic regression; a column counts as N(0, 1) in its own scale."""
    weights = samples.weights / samples.weights.mean()
    model = LogisticRegression(C=1.0, fit_intercept=intercept, solver="newton-cholesky", max_iter=200, tol=1e-8)
    model.fit(columns, samples.labels, sample_weight=weights)
    return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0]) if intercept else 0.0


def _temperature(samples: Samples) -> TemperatureMap:
    (slope,), _ = _regress(_logit(samples.scores)[:, None] * _UNBOUND, samples, intercept=False)
    return TemperatureMap(temperature=1.0 / float(np.clip(slope * _UNBOUND, 0.02, 50.0)))


def _platt(samples: Samples) -> PlattMap:
    (slope,), intercept = _regress(_logit(samples.scores)[:, None] * _UNBOUND, samples, intercept=True)
    return PlattMap(slope=max(0.0, float(slope) * _UNBOUND), intercept=intercept)


def _beta(samples: Samples) -> BetaMap:
    """A negative coefficient would make the map fall: its column is left out then (Kull et al. 2017, section 4)."""
    clipped = np.clip(samples.scores, EPSILON, 1 - EPSILON)
    columns = np.stack([np.log(clipped), -np.log1p(-clipped)], axis=1) * _UNBOUND
    used = [0, 1]
    coefficients, intercept = _regress(columns, samples, intercept=True)
    if coefficients.min() < 0:
        used = [int(coefficients.argmax())]
        coefficients, intercept = _regress(columns[:, used], samples, intercept=True)
    found = dict.fromkeys((0, 1), 0.0) | dict(zip(used, coefficients * _UNBOUND, strict=True))
    return BetaMap(a=max(0.0, float(found[0])), b=max(0.0, float(found[1])), c=intercept)


def _isotonic(samples: Samples) -> IsotonicMap:
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    fitted.fit(samples.scores, samples.labels, sample_weight=samples.weights)
    scores, probabilities = fitted.X_thresholds_, np.clip(np.maximum.accumulate(fitted.y_thresholds_), 0.0, 1.0)
    scores, first = np.unique(np.clip(scores, 0.0, 1.0), return_index=True)
    return IsotonicMap(scores=tuple(map(float, scores)), probabilities=tuple(map(float, probabilities[first])))


_FIT: Mapping[Method, Callable[[Samples], ScoreMap]] = {
    "temperature": _temperature,
    "platt": _platt,
    "beta": _beta,
    "isotonic": _isotonic,
}


def fit_map(method: Method, samples: Samples) -> ScoreMap:
    """One map for these samples.

    Raises:
        ValueError: they hold one class alone.
    """
    if samples.labels.all() or not samples.labels.any():
        raise ValueError("calibration needs violations and clean videos among what was routed")
    return _FIT[method](samples)


def fit_maps(method: Method, samples: Samples) -> tuple[ScoreMap, dict[str, ScoreMap]]:
    """The pooled map, and those of single issues.

    An issue with samples enough gets a map of its own. The others share the shape of a pooled Platt or beta map and
    have an intercept each, shrunk to the pooled one; a pooled map of another kind they share as it is.
    """
    pooled = fit_map(method, samples)
    own: dict[str, ScoreMap] = {}
    few = []
    for issue in sorted(set(samples.issues)):
        part = samples.where(samples.issues == issue)
        positives = int(part.labels.sum())
        if min(positives, len(part) - positives) >= LEAST_OF_AN_ISSUE:
            own[issue] = fit_map(method if method != "isotonic" or len(part) >= LEAST_FOR_ISOTONIC else "beta", part)
        else:
            few.append(issue)
    if isinstance(pooled, PlattMap | BetaMap) and len(few) > 1:
        own |= _with_intercepts(pooled, samples.where(np.isin(samples.issues, few)), few)
    return pooled, own


def _with_intercepts(pooled: PlattMap | BetaMap, samples: Samples, issues: Sequence[str]) -> dict[str, ScoreMap]:
    """The pooled shape, and an intercept for each issue; samples of one class alone still tell that it is low."""
    if samples.labels.all() or not samples.labels.any():
        return {}
    clipped = np.clip(samples.scores, EPSILON, 1 - EPSILON)
    a, b = (pooled.slope, pooled.slope) if isinstance(pooled, PlattMap) else (pooled.a, pooled.b)
    shape = a * np.log(clipped) - b * np.log1p(-clipped)
    is_of = np.stack([samples.issues == issue for issue in issues], axis=1)
    columns = np.concatenate([shape[:, None] * _UNBOUND, is_of * INTERCEPT_SPREAD], axis=1)
    coefficients, intercept = _regress(columns, samples, intercept=True)
    steeper = max(0.0, float(coefficients[0]) * _UNBOUND)
    shifted = intercept + coefficients[1:] * INTERCEPT_SPREAD
    return {
        issue: PlattMap(slope=a * steeper, intercept=float(own))
        if isinstance(pooled, PlattMap)
        else BetaMap(a=a * steeper, b=b * steeper, c=float(own))
        for issue, own in zip(issues, shifted, strict=True)
    }


def applied(pooled: ScoreMap, own: Mapping[str, ScoreMap], samples: Samples) -> Floats:
    """The probabilities of all samples, [n]."""
    return np.array(
        [own.get(issue, pooled).apply(score) for score, issue in zip(samples.scores, samples.issues, strict=True)]
    )


def brier(probability: Floats, samples: Samples) -> float:
    """Weighted mean squared difference of probability and label, in [0, 1]."""
    return float(np.average((probability - samples.labels) ** 2, weights=samples.weights))


def held_out(method: Method, samples: Samples, *, seed: int = 0) -> Floats:
    """The probability of every sample, [n], by maps that were fitted without it."""
    # Folds hold the same share of every issue and class where it has samples enough.
    strata = np.char.add(samples.issues.astype(str), samples.labels.astype(int).astype(str))
    names, counts = np.unique(strata, return_counts=True)
    rare = np.isin(strata, names[counts < _FOLDS])
    strata = np.where(rare, samples.labels.astype(int).astype(str), strata)
    probability = np.empty(len(samples))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    for train, held in folds.split(samples.scores, strata):
        probability[held] = applied(*fit_maps(method, samples.where(train)), samples.where(held))
    return probability


def candidates(samples: Samples, *, seed: int = 0) -> list[Candidate]:
    """All methods that the samples are enough for, each with its cross-validated Brier score.

    Raises:
        ValueError: a class has fewer samples than there are folds.
    """
    positives = int(samples.labels.sum())
    if min(positives, len(samples) - positives) < _FOLDS:
        raise ValueError(f"{positives} violations and {len(samples) - positives} clean pairs are too few to calibrate")
    methods = [each for each in METHODS if each != "isotonic" or len(samples) >= LEAST_FOR_ISOTONIC]
    found: dict[Method, list[float]] = {method: [] for method in methods}
    for repeat in range(_REPEATS):
        for method in methods:
            found[method].append(brier(held_out(method, samples, seed=seed + repeat), samples))
    return [
        Candidate(method, float(np.mean(each)), float(np.std(each, ddof=1) / np.sqrt(_REPEATS)))
        for method, each in found.items()
    ]


def fit_calibrator(
    samples: Samples, calibrator_id: str, fitted_for: FittedFor, *, seed: int = 0
) -> tuple[Calibrator, list[Candidate]]:
    """The calibrator with the least cross-validated Brier score, and what was compared.

    Raises:
        ValueError: the samples are too few.
    """
    compared = candidates(samples, seed=seed)
    best = min(compared, key=lambda each: each.brier)
    pooled, own = fit_maps(best.method, samples)
    metrics = {
        "samples": float(len(samples)),
        "positives": float(samples.labels.sum()),
        **{f"brier_{each.method}": each.brier for each in compared},
    }
    return Calibrator(id=calibrator_id, pooled=pooled, issues=own, fitted_for=fitted_for, metrics=metrics), compared


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from what they say.

    Attributes:
        predicted, observed, share: of each bin, [bins]: mean probability, rate of violations, share of the weight.
        error: expected calibration error, the mean absolute difference over bins weighted by share.
        floor: what the same estimator gives on average for probabilities that are exactly right: noise of few samples.
    """

    predicted: Floats
    observed: Floats
    share: Floats
    error: float
    floor: float


def reliability(
    probability: Floats, samples: Samples, *, bins: int = 15, rounds: int = 200, seed: int = 0
) -> Reliability:
    """Reliability with bins of equal weight (Nixon et al. 2019), and its noise floor by drawing labels from the
    probabilities themselves. Equal probabilities share a bin."""
    p, y, w = probability, samples.labels.astype(np.float64), samples.weights
    _, value = np.unique(p, return_inverse=True)
    # Equal probabilities stay together: parted, they would differ by chance alone.
    mass = np.bincount(value, w)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    used, at = np.unique(np.minimum((middle * bins).astype(int), bins - 1)[value], return_inverse=True)
    size = np.bincount(at, w)
    predicted = np.bincount(at, w * p) / size
    share = size / size.sum()

    def error(labels: Floats) -> tuple[Floats, float]:
        observed = np.bincount(at, w * labels, minlength=len(used)) / size
        return observed, float((share * np.abs(observed - predicted)).sum())

    rng = np.random.default_rng(seed)
    floor = float(np.mean([error((rng.random(len(p)) < p).astype(np.float64))[1] for _ in range(rounds)]))
    observed, found = error(y)
    return Reliability(predicted, observed, share, found, floor)
