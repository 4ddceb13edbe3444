"""Trains the encoder's head on frozen patch tokens, and exports tower and head as the router loads them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import nn
from transformers import AutoTokenizer

from offline.demo_world.art import TRAINING_STYLES, Art, Style
from offline.demo_world.taxonomy import ISSUES, violated
from offline.statistics import roc_auc
from offline.training.clip_model import config_file, load_training_checkpoint
from offline.training.contrast import Objective
from offline.training.features import TrainingFrames, cache_features
from offline.training.videos import FRAMES
from offline.training.vocabulary import TAGS, Classes
from services.encoder.head import HeadConfig, TagHead

HELD_OUT_SEED = 10_007


@dataclass(frozen=True)
class HeadRecipe:
    """Settings of the head's training.

    `videos`, `feature_seed`, `held_out` and `frames` name the feature caches, which are shared with the ranker.
    """

    steps: int = 3000
    batch: int = 384
    learning_rate: float = 1e-3
    temperature: float = 0.1
    proxy_weight: float = 1.0
    hard_weight: float = 2.0
    hidden: int = 384
    dim: int = 128
    videos: int = 12000
    feature_seed: int = 11
    held_out: int = 256
    frames: int = FRAMES
    styles: tuple[Style, ...] = TRAINING_STYLES


def frame_labels(frames: Iterable[Iterable[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Issues that each frame violates and those that it resembles, bool [n, issues] each, by the taxonomy.

    A frame with something of A or of B and without the relation resembles the issue.
    """
    own, like = [], []
    for names in frames:
        shown = frozenset(names)
        found = violated((shown,))
        own.append([issue.id in found for issue in ISSUES])
        parts = [shown.intersection(issue.members(issue.a) + issue.members(issue.b)) for issue in ISSUES]
        like.append([bool(part) and issue.id not in found for part, issue in zip(parts, ISSUES, strict=True)])
    return torch.tensor(own), torch.tensor(like)


def train_head(art_folder: Path, dense: Path, work: Path, recipe: HeadRecipe, console: Console) -> TagHead:
    """Train the head on cached features of training frames."""
    art = Art(art_folder, recipe.styles)
    classes = Classes.of_art(art)
    clip, state = load_training_checkpoint(dense)

    def load(count: int, seed: int) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        cached, _ = cache_features(
            clip, art, classes, work, count=count, seed=seed, console=console, frames=recipe.frames
        )
        truth = TrainingFrames(art, classes, count, seed, recipe.frames)
        labels, resembled = frame_labels(names for i in range(count) for names in truth.truth(i).frames)
        return cached.reshape(-1, *cached.shape[2:]), labels, resembled

    flat, label, hard = load(recipe.videos, recipe.feature_seed)
    held = load(recipe.held_out, HELD_OUT_SEED)
    torch.manual_seed(7)
    head = TagHead(flat.shape[-1], HeadConfig(TAGS, recipe.hidden, recipe.dim))
    with torch.no_grad():
        head.tag.weight.copy_(state["dense"]["tags.weight"])
        head.tag.bias.copy_(state["dense"]["tags.bias"])
    objective = Objective(
        len(ISSUES), recipe.dim, temperature=recipe.temperature, proxy_weight=recipe.proxy_weight,
        hard_weight=recipe.hard_weight,
    )  # fmt: skip
    learned = [*head.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    rng = np.random.default_rng(7)
    normalise = clip.visual.ln_post.eval()
    for step in range(1, recipe.steps + 1):
        pick = np.sort(rng.choice(len(flat), size=min(recipe.batch, len(flat)), replace=False))
        chosen = torch.from_numpy(pick)
        loss = objective(head(_tokens(flat, pick, normalise)), label[chosen], hard[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == recipe.steps:
            score = _held_out_auc(head, objective, held[0], held[1], normalise)
            console.print(
                f"head: step {step} of {recipe.steps}, loss {loss.item():.3f}, held-out frame ROC-AUC {score:.3f}"
            )
    return head.eval()


def _tokens(flat: np.ndarray, pick: np.ndarray, normalise: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        tokens: torch.Tensor = normalise(torch.from_numpy(flat[pick]).float())
    return tokens


@torch.no_grad()
def _held_out_auc(
    head: TagHead, objective: Objective, flat: np.ndarray, label: torch.Tensor, normalise: nn.Module
) -> float:
    """ROC-AUC of the largest proxy similarity for "shows any violation", on videos that were not trained on."""
    parts = np.array_split(np.arange(len(flat)), 8)
    z = torch.cat([head(_tokens(flat, part, normalise)) for part in parts if len(part)])
    risk = objective.similarities(z).amax(1).numpy().astype(np.float64)
    return roc_auc(risk, label.any(dim=1).numpy(), np.ones(len(flat)))


def export_router(dense: Path, head: TagHead, tokenizer_folder: Path, out: Path) -> Any:
    """Write the directory that services.encoder loads: open_clip configuration, float16 weights, tokenizer, head."""
    out.mkdir(parents=True, exist_ok=True)
    _, state = load_training_checkpoint(dense)
    weights = {name: tensor.to(torch.float16).contiguous() for name, tensor in state["model"].items()}
    save_file(weights, out / "open_clip_model.safetensors")
    (out / "open_clip_config.json").write_text(config_file(state["config"]), encoding="utf-8")
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(out)
    head.save(out)
    return json.loads((out / "open_clip_config.json").read_text(encoding="utf-8"))
