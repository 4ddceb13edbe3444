"""Calibrators: the maps, the artifact that holds them, and the fingerprint of the checkpoint they were fitted for."""

from services.calibration.artifact import (
    CalibrationError,
    Calibrator,
    FittedFor,
    checkpoint_fingerprint,
    load_calibrators,
)
from services.calibration.maps import BetaMap, IsotonicMap, PlattMap, ScoreMap, TemperatureMap

__all__ = [
    "BetaMap",
    "CalibrationError",
    "Calibrator",
    "FittedFor",
    "IsotonicMap",
    "PlattMap",
    "ScoreMap",
    "TemperatureMap",
    "checkpoint_fingerprint",
    "load_calibrators",
]
