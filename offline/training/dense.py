"""Dense pre-training of the router's tower: which sprite lies under each patch, plus a weak CLIP loss on captions."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, IterableDataset

from offline.demo_world.art import TRAINING_STYLES, Art
from offline.demo_world.render import draw_labelled
from offline.demo_world.scene import WORLD_SIZE, Kind, Pools, collage, compose
from offline.demo_world.taxonomy import ROLE_OF
from offline.training.augment import augment
from offline.training.clip_model import GRID, IMAGE_SIZE, MEAN, STD, WIDTH, build, model_config
from offline.training.vocabulary import TAGS, Classes, clip_tokenizer, spoken

CAPTION_TOKENS = 48
_KINDS: tuple[Kind, ...] = ("violation", "look_alike", "other")


@dataclass(frozen=True)
class DenseRecipe:
    """Settings of dense pre-training. `minutes` is wall time; the learning rate follows it."""

    minutes: float = 28.0
    batch: int = 48
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.05
    clip_weight: float = 0.4
    clip_every: int = 4  # steps; the text tower is a large part of a step's cost
    seed: int = 1


class DensePictures(IterableDataset[dict[str, Any]]):
    """An endless stream of labelled pictures; worker w of n sees its own part."""

    def __init__(self, art: Art, classes: Classes, tokenizer: Any, seed: int) -> None:
        self._art, self._classes, self._tokenizer, self._seed = art, classes, tokenizer, seed
        self._pools = Pools(art.neutral, art.others)
        self._roles = tuple(ROLE_OF)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self._seed, info.id if info else 0])
        while True:
            yield self._one(rng)

    def _one(self, rng: np.random.Generator) -> dict[str, Any]:
        style = TRAINING_STYLES[int(rng.integers(len(TRAINING_STYLES)))]
        if rng.random() < 0.65:
            names: list[str] = []
            for _ in range(int(rng.integers(3, 8))):
                pool = self._roles if rng.random() < 0.7 else self._art.others
                names.append(pool[int(rng.integers(len(pool)))])
            shot, at = collage(rng, names), 0.0
        else:
            kind = _KINDS[int(rng.integers(len(_KINDS)))]
            scene = compose(rng, self._pools, video_id="", kind=kind, styles=(style,))
            at = float(rng.uniform(0, scene.duration_s))
            shot = scene.shot_at(at)
        frame, under = draw_labelled(shot, style, at, self._art, size=WORLD_SIZE, grid=GRID)
        words = np.array([self._classes.of[s.name] for s in shot.sprites] + [self._classes.background])
        tags = np.array([self._classes.tag_of.get(s.name, len(TAGS)) for s in shot.sprites] + [len(TAGS)])
        caption = "a picture of " + " and ".join(spoken(s.name) for s in shot.sprites)
        ids = self._tokenizer(caption, max_length=CAPTION_TOKENS, truncation=True, padding="max_length")["input_ids"]
        return {
            "pixels": torch.from_numpy(augment(frame, rng, size=IMAGE_SIZE).copy()),
            "words": torch.from_numpy(words[under].reshape(-1)),
            "tags": torch.from_numpy(tags[under].reshape(-1)),
            "caption": torch.tensor(ids),
        }


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [n, h, w, 3] to the tower's float input [n, 3, h, w]."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


class DenseModel(nn.Module):
    """The CLIP and the two classifiers over its patch tokens."""

    def __init__(self, config: dict[str, Any], classes: int) -> None:
        super().__init__()
        self.clip = build(config)
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
        tag_loss = F.binary_cross_entropy_with_logits(tag_logits.float(), targets) * 10
        if clip_weight == 0:
            return word_loss + tag_loss, word_logits
        image = F.normalize(pooled.float(), dim=-1)
        text = F.normalize(self.clip.encode_text(batch["caption"]).float(), dim=-1)
        logits = self.clip.logit_scale.exp().clamp(max=100) * image @ text.T
        target = torch.arange(len(logits))
        clip_loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return word_loss + tag_loss + clip_weight * clip_loss, word_logits


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
    art = Art(art_folder)
    classes = Classes.of_art(art)
    tokenizer = clip_tokenizer(art, work / "clip_tokenizer")
    torch.manual_seed(recipe.seed)
    config = model_config(len(tokenizer), pad_id=tokenizer.pad_token_id, eos_id=tokenizer.eos_token_id)
    model = DenseModel(config, len(classes.names) + 1)
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
    step, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["dense"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
        if spent >= recipe.minutes * 60:
            return checkpoint
    held_out = DataLoader(DensePictures(art, classes, tokenizer, 999), batch_size=64)
    stream = iter(held_out)
    evaluation = [next(stream) for _ in range(6)]
    loader = DataLoader(
        DensePictures(art, classes, tokenizer, recipe.seed + step),
        batch_size=recipe.batch,
        num_workers=1,
        prefetch_factor=4,
    )
    budget, started = recipe.minutes * 60, time.monotonic() - spent
    for batch in loader:
        elapsed = time.monotonic() - started
        progress = min(elapsed / budget, 1.0)
        rate = recipe.learning_rate * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress)))
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
            accuracy = foreground_accuracy(model, evaluation)
            model.train()
            console.print(
                f"dense: {elapsed / 60:5.1f} of {recipe.minutes:.0f} min, step {step}, loss {loss.item():.3f}, "
                f"foreground-patch accuracy {accuracy:.3f}"
            )
            _save(checkpoint, model, optimizer, config, classes, step, elapsed, accuracy)
        if progress >= 1.0:
            break
    return checkpoint


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
