"""Engines: what puts frames and prompts before a model and reads its Yes and No."""
