"""Thresholds of both stages, from labelled videos that the services have judged to a policy file."""
