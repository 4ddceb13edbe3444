"""Why the vllm engine refuses to start, and a start that is given up."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.engines.vllm.engine import VllmEngine
from ranker_svc.settings import Settings, bundled_model
from tests.vllm.conftest import closed

Others = frozenset[psutil.Process]


@pytest.fixture
def others() -> Others:
    """Processes below this one that are not of the test's own engine."""
    return frozenset(psutil.Process().children(recursive=True))


def engine_processes(others: Others) -> list[str]:
    """Names of vLLM's processes that have been started since."""
    found = [child.name() for child in psutil.Process().children(recursive=True) if child not in others]
    return [name for name in found if name.startswith("VLLM::")]


async def refused(**settings: Any) -> str:
    engine = VllmEngine(Settings(engine="vllm", **settings))
    try:
        with pytest.raises(EngineStartError) as caught:
            await engine.start()
        assert await engine.health() is not None
    finally:
        await closed(engine)
    return str(caught.value)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the bundled model, for a test to spoil."""
    return shutil.copytree(bundled_model(), tmp_path / "model")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"model": "/nowhere/at/all"}, "neither a directory nor a hub id"),
        ({"device": "cuda"}, r"'cuda' \(WINNOW_RANKER_DEVICE\) cannot be used: this vLLM runs on 'cpu'"),
        ({"device": "cpu:1"}, "cannot be used"),
        ({"engine_args": {"max_num_seq": 4}}, "no engine argument 'max_num_seq'.*did you mean 'max_num_seqs'"),
        ({"engine_args": {"max_num_seqs": 4}}, "set WINNOW_RANKER_MAX_NUM_SEQS instead"),
        ({"engine_args": {"block_size": "many"}}, "vLLM refuses the engine's settings"),
        ({"quantization": "magic"}, "vLLM refuses the engine's settings"),
        ({"max_model_len": 100_000}, "vLLM refuses the engine's settings"),
    ],
    ids=str,
)
async def test_it_says_why_it_cannot_start(settings: dict[str, Any], reason: str) -> None:
    assert re.search(reason, await refused(**settings))


async def test_a_model_without_yes_is_refused(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    for name in [name for name in vocabulary if name.strip("▁ Ġ").lower() == "yes"]:
        vocabulary[f"{name}_gone"] = vocabulary.pop(name)
    merges = tokenizer["model"].get("merges", [])
    kept = ["".join(pair if isinstance(pair, list) else pair.split()) in vocabulary for pair in merges]
    tokenizer["model"]["merges"] = [pair for pair, keep in zip(merges, kept, strict=True) if keep]
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "no spelling of 'yes' is a single token" in await refused(model=str(model))


async def test_a_model_of_text_alone_is_refused(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config["text_config"] | {"architectures": ["LlamaForCausalLM"]}))
    reason = await refused(model=str(model))
    assert "no image token" in reason or "cannot be loaded as an image-text model" in reason


async def test_a_cache_larger_than_the_memory_is_refused(temporary: Path, others: Others) -> None:
    assert "vLLM's engine process could not start" in await refused(kv_cache_gib=100_000.0)
    assert not engine_processes(others)
    assert list(temporary.glob("vllm*")) == []


@pytest.mark.parametrize("stage", ["import", "engine"])
async def test_a_start_that_is_given_up_leaves_nothing(stage: str, temporary: Path, others: Others) -> None:
    engine = VllmEngine(Settings(engine="vllm"))
    starting = asyncio.create_task(engine.start())
    async with asyncio.timeout(120.0):
        while stage == "engine" and not engine_processes(others) and not starting.done():
            await asyncio.sleep(0.1)
    await asyncio.wait([starting], timeout=0.2)
    starting.cancel()
    async with asyncio.timeout(20.0):
        with pytest.raises(asyncio.CancelledError):
            await starting
        await closed(engine)
    assert not engine_processes(others)
    assert list(temporary.glob("vllm*")) == []
