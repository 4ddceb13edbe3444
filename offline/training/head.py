"""Trains the encoder's head on frozen patch tokens: supervised contrast on the fine-grained label plus proxies.

Liang et al. 2025: positives share a fine-grained risk label. Frames of look-alikes are the hard negatives.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from safetensors.torch import save_file
from torch import nn
from transformers import AutoTokenizer

from offline.demo_world.art import Art
from offline.demo_world.taxonomy import ISSUES, violated
from offline.training.clip_model import config_file, load_training_checkpoint
from offline.training.features import FRAMES, TrainingFrames, cache_features
from offline.training.vocabulary import TAGS, Classes
from services.encoder.head import HeadConfig, TagHead


@dataclass(frozen=True)
class HeadRecipe:
    """Settings of the head's training; `videos` and `feature_seed` name the feature cache, shared with the ranker."""

    steps: int = 3000
    batch: int = 384
    learning_rate: float = 1e-3
    temperature: float = 0.1
    proxy_weight: float = 1.0
    hidden: int = 384
    dim: int = 128
    videos: int = 8000
    feature_seed: int = 11


def contrast(z: torch.Tensor, label: torch.Tensor, temperature: float) -> torch.Tensor:
    """Supervised contrastive loss of unit vectors z [n, d]; anchors have a label >= 0, negatives are all others."""
    logits = z @ z.T / temperature
    self_mask = torch.eye(len(z), dtype=torch.bool)
    logits = logits.masked_fill(self_mask, -1e9)
    positive = (label[:, None] == label[None, :]) & ~self_mask & (label >= 0)[:, None]
    anchors = positive.any(dim=1)
    log_share = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    mean = (log_share * positive).sum(1)[anchors] / positive.sum(1)[anchors]
    return -mean.mean()


def train_head(art_folder: Path, dense: Path, work: Path, recipe: HeadRecipe, console: Console) -> TagHead:
    """Train the head on cached features of training frames."""
    art = Art(art_folder)
    classes = Classes.of_art(art)
    clip, state = load_training_checkpoint(dense)
    features, _ = cache_features(
        clip, art, classes, work, count=recipe.videos, seed=recipe.feature_seed, console=console
    )
    truth = TrainingFrames(art, classes, recipe.videos, recipe.feature_seed)
    order = {issue.id: i for i, issue in enumerate(ISSUES)}
    labels = np.full((recipe.videos, FRAMES), -1)
    for i in range(recipe.videos):
        for j, names in enumerate(truth.truth(i).frames):
            found = violated((frozenset(names),))
            labels[i, j] = order[found[0]] if found else -1
    flat = features.reshape(-1, *features.shape[2:])
    label = torch.from_numpy(labels.reshape(-1))
    held = len(flat) // 20
    torch.manual_seed(7)
    head = TagHead(flat.shape[-1], HeadConfig(TAGS, recipe.hidden, recipe.dim))
    with torch.no_grad():
        head.tag.weight.copy_(state["dense"]["tags.weight"])
        head.tag.bias.copy_(state["dense"]["tags.bias"])
    proxies = nn.Parameter(F.normalize(torch.randn(len(ISSUES), recipe.dim), dim=-1))
    scale, shift = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-4.0))
    optimizer = torch.optim.AdamW(
        [*head.parameters(), proxies, scale, shift], lr=recipe.learning_rate, weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    rng = np.random.default_rng(7)
    normalise = clip.visual.ln_post.eval()
    for step in range(1, recipe.steps + 1):
        pick = np.sort(rng.choice(len(flat) - held, size=recipe.batch, replace=False))
        z = head(_tokens(flat, pick, normalise))
        own = label[torch.from_numpy(pick)]
        proxy_logits = scale * z @ F.normalize(proxies, dim=-1).T + shift
        target = F.one_hot(own + 1, len(ISSUES) + 1)[:, 1:].float()
        proxy_loss = F.binary_cross_entropy_with_logits(proxy_logits, target) * len(ISSUES)
        loss = contrast(z, own, recipe.temperature) + recipe.proxy_weight * proxy_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == recipe.steps:
            score = _held_out_auc(head, flat, label, held, normalise, proxies)
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
    head: TagHead, flat: np.ndarray, label: torch.Tensor, held: int, normalise: nn.Module, proxies: torch.Tensor
) -> float:
    """ROC-AUC of the largest proxy similarity for "shows any violation", on frames that were not trained on."""
    from sklearn.metrics import roc_auc_score

    index = np.arange(len(flat) - held, len(flat))
    z = torch.cat([head(_tokens(flat, part, normalise)) for part in np.array_split(index, 8)])
    risk = (z @ F.normalize(proxies, dim=-1).T).amax(1)
    return float(roc_auc_score((label[index] >= 0).numpy(), risk.numpy()))


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
