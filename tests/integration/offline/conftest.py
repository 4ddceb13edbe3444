"""Fixtures of the lab's integration tests: toy art, and models trained on it for a moment by the real code."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from offline.demo_world.art import WORLD_STYLES, Art
from services.policy import default_policy_path, load_policy
from services.torchvision_compat import ensure_torchvision
from tests.unit.offline.toy_art import write_art

if TYPE_CHECKING:
    import torch

    from offline.training.vocabulary import Classes

ensure_torchvision()  # before any test module imports open_clip or transformers; fixtures import them late for that

TINY_DENSE: dict[str, Any] = {"minutes": 0.01, "batch": 4, "clip_every": 1, "styles": WORLD_STYLES}


@pytest.fixture(scope="session")
def console() -> Console:
    return Console(file=io.StringIO(), width=150)


@pytest.fixture(scope="session")
def art_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_art(tmp_path_factory.mktemp("art"))


@pytest.fixture(scope="session")
def art(art_folder: Path) -> Art:
    return Art(art_folder)


@pytest.fixture(scope="session")
def classes(art: Art) -> "Classes":
    from offline.training.vocabulary import Classes

    return Classes.of_art(art)


@pytest.fixture(scope="session")
def dense(art_folder: Path, tmp_path_factory: pytest.TempPathFactory, console: Console) -> Path:
    """Checkpoint of a dense pre-training of a few steps; the text tower's tokenizer lies beside it."""
    from offline.training.dense import DenseRecipe, train_dense

    return train_dense(art_folder, tmp_path_factory.mktemp("router"), DenseRecipe(**TINY_DENSE), console)


@dataclass(frozen=True)
class Exported:
    """An exported ranker: its folder, its tokenizer, and the tower (open_clip) whose weights it has, in float32."""

    folder: Path
    tokens: Any
    clip: Any
    state: "dict[str, torch.Tensor]"


@pytest.fixture(scope="session")
def exported(art: Art, dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    import torch

    from offline.training.clip_model import load_training_checkpoint
    from offline.training.ranker_model import build, export, load_tower, tokenizer

    clip, checkpoint = load_training_checkpoint(dense)
    tokens = tokenizer(art, load_policy(default_policy_path()))
    torch.manual_seed(3)
    model = build(checkpoint["config"], tokens)
    load_tower(model, checkpoint["model"])
    folder = tmp_path_factory.mktemp("ranker")
    export(model, tokens, folder)
    rounded = {name: tensor.detach().clone().float() for name, tensor in model.state_dict().items()}
    clip.load_state_dict({name: tensor.half().float() for name, tensor in clip.state_dict().items()})
    return Exported(folder, tokens, clip.eval(), rounded)


@pytest.fixture(scope="session")
def loaded(exported: Exported) -> Any:
    """The exported model as transformers loads it, in float32."""
    import torch
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(exported.folder, dtype=torch.float32).eval()
