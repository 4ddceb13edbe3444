"""A directory for PYTHONPATH: what the interpreters of vLLM's processes run first."""
