"""Compares ways to find violations before the ranker, and fine-tunes any open_clip checkpoint for it."""
