"""Asks running services about labelled videos and reports how good and how expensive their decisions are."""
