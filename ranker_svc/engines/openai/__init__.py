"""Servers that speak OpenAI's chat completions, asked as a pool."""
