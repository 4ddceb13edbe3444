"""Dense pre-training of the router's tower: which sprite lies under each patch, plus a weak CLIP loss on captions."""

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader

from offline.demo_world.art import TRAINING_STYLES, Art, Style
from offline.training.clip_model import MEAN, STD, WIDTH, build, model_config
from offline.training.dense_pictures import DensePictures
from offline.training.vocabulary import TAGS, Classes, clip_tokenizer

EXAMS = {"plain": 1.0, "disguised": 0.0}
"""Held-out pictures by the share that is plain."""


@dataclass(frozen=True)
class DenseRecipe:
    """Settings of dense pre-training. `minutes` is wall time; the learning rate follows it.

    The rate stays up until the last part of the time and then falls to nothing, so that a longer training can go on
    from a checkpoint of a shorter one that was taken before.
    """

    minutes: float = 28.0
    layers: int = 6
    start: Path | None = None  # checkpoint of a tower with at most as many layers, to go on from
    batch: int = 48
    learning_rate: float = 1e-3
    cooling: float = 0.25  # share of the time in which the rate falls
    weight_decay: float = 0.05
    clip_weight: float = 0.4
    clip_every: int = 4  # steps; the text tower is a large part of a step's cost
    styles: tuple[Style, ...] = TRAINING_STYLES
    plain: float = 0.5  # share of the pictures without a disguise
    repeats: int = 8  # times that a picture is shown
    seed: int = 1


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [n, h, w, 3] to the tower's float input [n, 3, h, w]."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


class DenseModel(nn.Module):
    """The CLIP and the two classifiers over its patch tokens."""

    kin: torch.Tensor

    def __init__(self, config: dict[str, Any], classes: int, kin: np.ndarray | None = None) -> None:
        super().__init__()
        self.clip = build(config)
        known = np.zeros((classes, len(TAGS)), dtype=bool) if kin is None else kin
        self.register_buffer("kin", torch.from_numpy(known), persistent=False)
        self.words = nn.Linear(WIDTH, classes)
        self.tags = nn.Linear(WIDTH, len(TAGS))

    def loss(self, batch: dict[str, torch.Tensor], clip_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss, and the word logits [n, patches, classes]."""
        pooled, tokens = self.clip.visual(normalise(batch["pixels"]))
        word_logits, tag_logits = self.words(tokens), self.tags(tokens)
        background = word_logits.shape[-1] - 1
        weight = torch.where(batch["words"] == background, 0.3, 1.0)
        word_loss = F.cross_entropy(word_logits.flatten(0, 1).float(), batch["words"].flatten(), reduction="none")
        word_loss = (word_loss * weight.flatten()).sum() / weight.sum()
        targets = F.one_hot(batch["tags"], len(TAGS) + 1)[..., :-1].float()
        matters = ~self.kin[batch["words"]]
        tag_loss = F.binary_cross_entropy_with_logits(tag_logits.float(), targets, weight=matters.float()) * 10
        if clip_weight == 0:
            return word_loss + tag_loss, word_logits
        image = F.normalize(pooled.float(), dim=-1)
        text = F.normalize(self.clip.encode_text(batch["caption"]).float(), dim=-1)
        logits = self.clip.logit_scale.exp().clamp(max=100) * image @ text.T
        target = torch.arange(len(logits))
        clip_loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return word_loss + tag_loss + clip_weight * clip_loss, word_logits


@torch.no_grad()
def inherit(model: DenseModel, state: dict[str, Any], classes: Classes) -> None:
    """Give a model what a checkpoint of a tower with as many layers or fewer has learnt.

    Layers that are new begin by passing on what they get: the projections that end their two branches are zero. Classes
    are found by their names.

    Raises:
        ValueError: the checkpoint's tower has other dimensions.
    """
    own = model.state_dict()
    for name, value in state["dense"].items():
        if name in ("words.weight", "words.bias"):
            continue
        if name not in own or own[name].shape != value.shape:
            raise ValueError(f"a tower cannot go on from one whose {name} is {tuple(value.shape)}")
        own[name].copy_(value)
    known = {name: index for index, name in enumerate(state["classes"])}
    for index, class_name in enumerate((*classes.names, None)):
        source = len(known) if class_name is None else known.get(class_name)
        if source is not None:
            model.words.weight[index] = state["dense"]["words.weight"][source]
            model.words.bias[index] = state["dense"]["words.bias"][source]
    for name, parameter in model.named_parameters():
        if name not in state["dense"] and name.endswith(
            ("out_proj.weight", "out_proj.bias", "c_proj.weight", "c_proj.bias")
        ):
            parameter.zero_()


@torch.inference_mode()
def foreground_accuracy(model: DenseModel, batches: list[dict[str, torch.Tensor]]) -> float:
    """Share of sprite patches whose class is right."""
    right = total = 0
    for batch in batches:
        _, logits = model.loss(batch, 0.0)
        mask = batch["words"] != logits.shape[-1] - 1
        right += int((logits.argmax(-1) == batch["words"])[mask].sum())
        total += int(mask.sum())
    return right / max(total, 1)


def train_dense(art_folder: Path, work: Path, recipe: DenseRecipe, console: Console) -> Path:
    """Train, or resume, and return the checkpoint's path."""
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "dense.pt"
    art = Art(art_folder, recipe.styles)
    classes = Classes.of_art(art)
    tokenizer = clip_tokenizer(art, work / "clip_tokenizer")
    torch.manual_seed(recipe.seed)
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    config = model_config(len(tokenizer), pad_id=pad, eos_id=eos, layers=recipe.layers)
    model = DenseModel(config, len(classes.names) + 1, classes.kin())
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
    step, spent = 0, 0.0
    if recipe.start is not None:
        inherit(model, torch.load(recipe.start, map_location="cpu", weights_only=True), classes)
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["dense"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
        if spent >= recipe.minutes * 60:
            return checkpoint
    exams = {name: _exam(DensePictures(art, classes, tokenizer, 999, plain=plain)) for name, plain in EXAMS.items()}
    loader = DataLoader(
        DensePictures(art, classes, tokenizer, recipe.seed + step, plain=recipe.plain, repeats=recipe.repeats),
        batch_size=recipe.batch,
        num_workers=1,
        prefetch_factor=4,
    )
    budget, started = recipe.minutes * 60, time.monotonic() - spent
    for batch in loader:
        elapsed = time.monotonic() - started
        progress = min(elapsed / budget, 1.0)
        rate = recipe.learning_rate * min(1.0, (step + 1) / 400, max(0.01, (1 - progress) / recipe.cooling))
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        # With 65 tokens the plain kernel trains half as fast again as the flash kernel on a CPU.
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            loss, _ = model.loss(batch, recipe.clip_weight if step % recipe.clip_every == 0 else 0.0)
            optimizer.zero_grad()
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 250 == 0 or progress >= 1.0:
            model.eval()
            accuracy = {name: foreground_accuracy(model, batches) for name, batches in exams.items()}
            model.train()
            told = ", ".join(f"{name} {value:.3f}" for name, value in accuracy.items())
            console.print(
                f"dense: {elapsed / 60:5.1f} of {recipe.minutes:.0f} min, step {step}, loss {loss.item():.3f}, "
                f"foreground-patch accuracy: {told}"
            )
            _save(checkpoint, model, optimizer, config, classes, step, elapsed, accuracy["plain"])
        if progress >= 1.0:
            break
    return checkpoint


def _exam(pictures: DensePictures, batches: int = 6) -> list[dict[str, torch.Tensor]]:
    return list(islice(DataLoader(pictures, batch_size=64), batches))


def _save(
    path: Path, model: DenseModel, optimizer: Any, config: dict[str, Any], classes: Classes, step: int, spent: float,
    accuracy: float,
) -> None:  # fmt: skip
    state = {
        "config": config, "classes": list(classes.names), "dense": model.state_dict(), "model": model.clip.state_dict(),
        "tags": list(TAGS), "optimizer": optimizer.state_dict(), "step": step, "spent_s": spent, "accuracy": accuracy,
    }  # fmt: skip
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)
