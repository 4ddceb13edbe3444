"""Calibrators: from a score to a probability that means what it says, and what each was fitted for.

An artifact is one JSON file, fitted offline on routed traffic, applied by the ranker.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from services.calibration.maps import ScoreMap
from services.contracts import AssemblyMethod, Probability, PromptName, RequestModel

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
    """Maps the scores of issues to probabilities: one map for all, and one of its own for issues that had samples
    enough, or another base rate."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    pooled: ScoreMap = Field(description="For every issue that has no map of its own.")
    issues: dict[str, ScoreMap] = Field(default_factory=dict, description="Maps of single issues, by id.")
    fitted_for: FittedFor = FittedFor()
    metrics: dict[str, float] = Field(default_factory=dict, description="Measured when it was fitted, by name.")

    def apply(self, score: float, issue: str) -> float:
        """The probability, in [0, 1], that a score of this issue stands for."""
        return self.issues.get(issue, self.pooled).apply(score)

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
