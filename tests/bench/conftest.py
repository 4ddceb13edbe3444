"""What benchmarks share: the report that they all add to."""

import pytest

from tests.bench.results import Report


@pytest.fixture
def report() -> Report:
    return Report()
