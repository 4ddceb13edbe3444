"""The ranker service (refine): frames and policy questions in, calibrated probabilities out."""
