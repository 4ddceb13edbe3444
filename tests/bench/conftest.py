"""What benchmarks share: the report that they all add to, and what some of them need."""

import importlib.util

import pytest

from tests.bench.results import Report


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture
def needs_vllm() -> None:
    """Fails where vLLM is not installed: a benchmark that was asked for and did not run must not look well."""
    if importlib.util.find_spec("vllm") is None:
        pytest.fail("vLLM is not in this environment; `make bench-ranker` makes one that has it", pytrace=False)
