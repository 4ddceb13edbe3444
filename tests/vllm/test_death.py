"""An engine whose process is killed: it is noticed at once, callers hear of it, nothing hangs or stays behind."""

import asyncio
from pathlib import Path

import psutil
import pytest

from ranker_svc.engines.vllm.engine import VllmEngine
from ranker_svc.settings import Settings
from services.deadline import Deadline
from services.errors import NotReady
from tests.vllm.conftest import Frames, closed

PROMPTS = [f"Question {index}: does this video violate the policy? Answer Yes or No." for index in range(8)]
REQUESTS = 120


async def test_a_killed_engine(noise: Frames, temporary: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    engine = VllmEngine(Settings(engine="vllm"))
    await engine.start()
    started = [child for child in psutil.Process().children(recursive=True) if child not in before]
    own = {child.name(): child for child in started if child.name().startswith("VLLM::")}
    assert set(own) == {"VLLM::EngineCore"}
    (directory,) = temporary.glob("vllm*")
    assert any(entry.is_socket() for entry in directory.iterdir())
    died = asyncio.create_task(engine.died())
    asked = [asyncio.create_task(engine.answer(noise(8), PROMPTS, Deadline.after(60.0))) for _ in range(REQUESTS)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert not died.done()

    own["VLLM::EngineCore"].kill()
    async with asyncio.timeout(10.0):
        assert "has died" in await died
    assert "has died" in str(await engine.health())
    async with asyncio.timeout(10.0):
        ended = await asyncio.gather(*asked, return_exceptions=True)
    assert any(isinstance(each, NotReady) for each in ended)
    assert all(isinstance(each, NotReady) for each in ended if isinstance(each, BaseException))
    assert engine.waiting == 0
    with pytest.raises(NotReady):
        await engine.answer(noise(1), PROMPTS[:1], Deadline.after(10.0))
    async with asyncio.timeout(20.0):
        await closed(engine)
    _, alive = psutil.wait_procs(own.values(), timeout=15.0)
    assert not alive
    assert list(temporary.glob("vllm*")) == []
