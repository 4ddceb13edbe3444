"""The production engine: vLLM's AsyncLLM in this process."""
