"""Fixtures of the fine-tuning's tests: toy data sets, tiny checkpoints of every family, their frames."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from offline.finetune.data import Sample, read_samples
from offline.finetune.frames import FrameCache, FrameSettings
from tests.integration.offline.finetune.toy_sets import write_toy_sets
from tests.integration.ranker.tiny_families import BUILDERS
from tests.integration.ranker.tiny_llava import build_tiny_llava

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "llava": build_tiny_llava,
    **{name: BUILDERS[name] for name in ("llava_next", "llava_onevision", "qwen2_5_vl")},
}


@pytest.fixture(scope="session")
def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="session")
def toy_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_sets(tmp_path_factory.mktemp("sets") / "toy")


@pytest.fixture(scope="session")
def samples(toy_sets: Path) -> list[Sample]:
    return read_samples(toy_sets)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample], quiet: Console) -> FrameCache:
    """Frames of the toy videos, decoded."""
    cache = FrameCache(tmp_path_factory.mktemp("frames"), FrameSettings(frames=3, short_side=32, jpeg_quality=90))
    cache.fill([sample.video for sample in samples], quiet, workers=0)
    return cache


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny checkpoint of a family, built once."""
    made: dict[str, Path] = {}
    root = tmp_path_factory.mktemp("tiny")

    def build(family: str) -> Path:
        if family not in made:
            made[family] = FAMILIES[family](root / family)
        return made[family]

    return build
