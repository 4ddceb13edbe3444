"""The lab: the demo world, training, calibration, thresholds and measurement. Nothing here runs in production."""
