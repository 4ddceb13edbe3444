"""What all tests share: markers from folders, the event loop, one thread for numeric libraries."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Two test processes with a thread for every core each slow each other down; it has to be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

TESTS = Path(__file__).parent
KINDS = frozenset({"unit", "integration", "e2e", "browser", "bench", "packaging", "vllm"})


def pytest_configure() -> None:
    # A job that a shell runs in the background ignores SIGINT, and so would the programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        if kind not in KINDS:
            raise pytest.UsageError(f"{item.path}: tests stand in one of {', '.join(sorted(KINDS))}")
        item.add_marker(kind)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _interrupts_are_left_alone() -> Iterator[None]:
    # A test that leaves a handler behind would make those after it deaf.
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    # It speaks to the tests themselves; see tests/servers.py.
    for name in set(os.environ) - {"WINNOW_TEST_SERVERS"}:
        if name.startswith("WINNOW_") or name in {"DATABASE_URL", "QDRANT_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)
