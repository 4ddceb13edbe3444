"""Calibrators: from a score to a probability that means what it says, and what each was fitted for.

An artifact is one JSON file, fitted offline on routed traffic, applied by the ranker.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, StringConstraints, ValidationError

from services.contracts import AssemblyMethod, Probability, PromptName, RequestModel

_EPSILON = 1e-7
_TEMPERATURES = (0.02, 50.0)
_FINGERPRINTED = frozenset({".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"})


class CalibrationError(ValueError):
    """A calibrator's file cannot be used; the message names it."""


class FittedFor(RequestModel):
    """Everything that a calibrator depends on; null where it was not recorded, or is not known."""

    model: str | None = Field(default=None, description="Fingerprint of the ranker's model.")
    prompt: PromptName | None = None
    assembly: AssemblyMethod | None = None
    fine_weight: Probability | None = None
    policy_hash: str | None = Field(default=None, description="Content hash of the policy, router thresholds included.")
    bank_revision: str | None = None
    encoder: str | None = Field(default=None, description="Fingerprint of the router's encoder.")
    frames: int | None = Field(default=None, ge=1, description="Frames sent to the ranker.")
    frame_short_side: int | None = Field(default=None, ge=1, description="Pixels of their shorter side.")
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)


class Calibrator(RequestModel):
    """A fitted calibrator. `temperature` divides the score's log-odds: above 1 it softens, below 1 it sharpens."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    method: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0.0, allow_inf_nan=False)
    fitted_for: FittedFor = FittedFor()
    metrics: dict[str, float] = Field(default_factory=dict, description="Measured when it was fitted, by name.")

    def apply(self, score: float) -> float:
        """sigmoid(logit(score) / temperature), in [0, 1]; 0, 0.5 and 1 stay where they are."""
        if not 0.0 < score < 1.0:
            return 0.0 if score <= 0.0 else 1.0
        return _sigmoid((math.log(score) - math.log1p(-score)) / self.temperature)

    def mismatch(self, actual: FittedFor) -> list[str]:
        """One sentence for each thing that differs from what it was fitted for; what either side leaves null is
        skipped."""
        fitted, found = self.fitted_for.model_dump(), actual.model_dump()
        return [
            f"calibrator `{self.id}` was fitted for {field} {fitted[field]}, not {found[field]}"
            for field in fitted
            if fitted[field] is not None and found[field] is not None and fitted[field] != found[field]
        ]


def load_calibrators(directory: Path) -> Mapping[str, Calibrator]:
    """All calibrators (`*.json`) of a directory by id; none where there is no such directory.

    Raises:
        CalibrationError: a file is not a calibrator, or two have the same id.
    """
    found: dict[str, Calibrator] = {}
    for path in sorted(directory.glob("*.json")):
        try:
            calibrator = Calibrator.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise CalibrationError(f"{path}: {error}") from error
        if calibrator.id in found:
            raise CalibrationError(f"{path}: the id `{calibrator.id}` is used by another file")
        found[calibrator.id] = calibrator
    return MappingProxyType(found)


def checkpoint_fingerprint(directory: Path) -> str:
    """SHA-256 (64 hex digits) over the names and contents of a checkpoint's own files, subdirectories left out.

    Weights, configuration, tokenizer, chat template and preprocessing count; a README does not.
    """
    digest = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        if path.is_file() and path.suffix in _FINGERPRINTED:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name}\0{content}\n".encode())
    return digest.hexdigest()


def fit_temperature(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The temperature in [0.02, 50] that minimises the weighted log loss (Guo et al. 2017, section 4.2).

    The loss is convex in 1 / T, hence unimodal in log T: a golden-section search finds its minimum.

    Args:
        scores: [n] in [0, 1].
        labels: [n], 0 or 1.
        weights: [n], at least 0, e.g. the inverse of a sampling rate; equal where None.

    Raises:
        ValueError: shapes differ, a value is out of range, or one class has no weight: then no temperature is best.
    """
    p = np.asarray(scores, dtype=np.float64)
    y = np.asarray(labels, dtype=np.float64)
    w = np.ones_like(p) if weights is None else np.asarray(weights, dtype=np.float64)
    if p.ndim != 1 or not p.shape == y.shape == w.shape:
        raise ValueError(f"scores, labels and weights must be vectors of one length: {p.shape}, {y.shape}, {w.shape}")
    if not (np.all((p >= 0) & (p <= 1)) and np.all((y == 0) | (y == 1)) and np.all((w >= 0) & np.isfinite(w))):
        raise ValueError("scores must be in [0, 1], labels 0 or 1, weights finite and at least 0")
    if not (w[y == 1].sum() > 0 and w[y == 0].sum() > 0):
        raise ValueError("both classes need weight")
    clipped = np.clip(p, _EPSILON, 1.0 - _EPSILON)
    logits = np.log(clipped) - np.log1p(-clipped)
    # log(1 + exp(-m)) of the margin m: the log loss without overflow.
    margins = np.where(y == 1, logits, -logits)

    def loss(log_temperature: float) -> float:
        return float(np.average(np.logaddexp(0.0, -margins / math.exp(log_temperature)), weights=w))

    return math.exp(_golden_section(loss, math.log(_TEMPERATURES[0]), math.log(_TEMPERATURES[1])))


def _golden_section(loss: Callable[[float], float], low: float, high: float, tolerance: float = 1e-6) -> float:
    """The minimum of a unimodal function on [low, high], to within `tolerance`."""
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return (low + high) / 2.0


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
