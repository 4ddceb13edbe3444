"""Fixtures of the error catalogue: one cascade for the tests that change nothing in it, and a way to start others."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.catalogue.cascade import Cascade, running
from tests.media_factory import RED, flat, render

Start = Callable[..., AbstractAsyncContextManager[Cascade]]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video that can be decoded: three seconds of red."""
    path = render(tmp_path_factory.mktemp("good") / "good.mp4", lambda _: flat(RED), frames=24)
    return path.read_bytes()


@pytest.fixture(scope="module")
async def cascade(tmp_path_factory: pytest.TempPathFactory, good: bytes) -> AsyncIterator[Cascade]:
    """A cascade with default settings that the tests of a module share; every test leaves it as it was."""
    async with running(tmp_path_factory.mktemp("cascade"), good) as started:
        yield started


@pytest.fixture(autouse=True)
def _whole(request: pytest.FixtureRequest) -> None:
    """Mend the lines that the test before cut."""
    if "cascade" in request.fixturenames:
        shared: Cascade = request.getfixturevalue("cascade")
        shared.router.answer = shared.ranker.answer = None


@pytest.fixture
def start(tmp_path: Path, good: bytes) -> Start:
    """Starts cascades of a test's own."""

    def starting(**changes: Any) -> AbstractAsyncContextManager[Cascade]:
        return running(tmp_path / "cascade", good, **changes)

    return starting
