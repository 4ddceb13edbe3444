"""Fixtures of the lab's unit tests: toy art and the pools that come of it."""

from pathlib import Path

import pytest

from offline.demo_world.art import Art
from offline.demo_world.scene import Pools
from services.torchvision_compat import ensure_torchvision
from tests.unit.offline.toy_art import write_art

ensure_torchvision()  # before any test module imports transformers


@pytest.fixture(scope="session")
def art_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_art(tmp_path_factory.mktemp("art"))


@pytest.fixture(scope="session")
def art(art_folder: Path) -> Art:
    return Art(art_folder)


@pytest.fixture(scope="session")
def pools(art: Art) -> Pools:
    return Pools(art.neutral, art.others)
