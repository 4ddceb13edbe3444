"""Trains the bundled ranker on cached features: many lessons behind one image prefix, the vision tower frozen."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn
from transformers import PreTrainedTokenizerFast

from offline.demo_world.art import Art
from offline.demo_world.taxonomy import ROLE_OF
from offline.statistics import roc_auc
from offline.training.clip_model import load_training_checkpoint
from offline.training.features import FRAMES, TrainingFrames, cache_features
from offline.training.packing import Pack, Packer
from offline.training.questions import Teacher
from offline.training.ranker_model import TURN_START, build, export, load_tower, tokenizer
from offline.training.vocabulary import TAGS, Classes, spoken
from services.policy import Policy


@dataclass(frozen=True)
class RankerRecipe:
    """Settings of the ranker's training. `minutes` is wall time without the making of the features.

    Phase one has one frame a sample and lessons about words; phase two whole videos and all three data sets.
    """

    minutes: float = 40.0
    first_phase: float = 0.3  # share of the time
    videos: int = 8000
    batch: int = 12
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    align_weight: float = 0.5
    seed: int = 11


class RankerTrainer(nn.Module):
    """The LLaVA and what its training needs beside it."""

    start: torch.Tensor
    newline: torch.Tensor
    name_ids: torch.Tensor
    name_mask: torch.Tensor
    role_of_class: torch.Tensor

    def __init__(self, model: Any, tokens: Any, classes: Classes) -> None:
        super().__init__()
        self.llava = model
        start = [tokens.bos_token_id, *tokens.encode(TURN_START, add_special_tokens=False)]
        self.register_buffer("start", torch.tensor(start), persistent=False)
        self.register_buffer("newline", torch.tensor(tokens.encode("\n", add_special_tokens=False)), persistent=False)
        names = [tokens.encode(" " + spoken(n), add_special_tokens=False) for n in (*classes.names, *TAGS)]
        longest = max(map(len, names))
        self.register_buffer("name_ids", torch.tensor([n + [0] * (longest - len(n)) for n in names]), persistent=False)
        self.register_buffer(
            "name_mask", (torch.arange(longest)[None] < torch.tensor([[len(n)] for n in names])).float(), False
        )
        roles = [TAGS.index(ROLE_OF[n]) if n in ROLE_OF else -100 for n in classes.names] + [-100]
        self.register_buffer("role_of_class", torch.tensor(roles), persistent=False)
        self.n_classes = len(classes.names)
        self.yes, self.no = (tokens.encode(f" {word}", add_special_tokens=False)[0] for word in ("Yes", "No"))

    def hidden(self, pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden states of the lessons [b, n, d], and the projected patches [b, f, patches, d]."""
        inner = self.llava.model
        table = inner.language_model.embed_tokens
        patches = inner.multi_modal_projector(pack.features)
        b, f, _, d = patches.shape
        newline = table(self.newline).expand(b, f, 1, d).to(patches.dtype)
        images = torch.cat([patches, newline], dim=2).flatten(1, 2)[:, :-1]  # the last newline opens every lesson
        prefix = torch.cat([table(self.start).expand(b, -1, d).to(patches.dtype), images], dim=1)
        size = prefix.shape[1]
        sequence = torch.cat([prefix, table(pack.tokens).to(patches.dtype)], dim=1)
        positions = torch.cat([torch.arange(size).expand(b, size), size + pack.offset], dim=1)
        out = inner.language_model(
            inputs_embeds=sequence, attention_mask=_mask(pack.segment, size, sequence.dtype), position_ids=positions,
            use_cache=False,
        )  # fmt: skip
        return out.last_hidden_state[:, size:], patches

    def loss(self, pack: Pack, align_weight: float) -> torch.Tensor:
        """Weighted mean loss of the answers, and the alignment of patches with words."""
        hidden, patches = self.hidden(pack)
        asked = pack.target != -100
        logits = self.llava.lm_head(hidden[asked]).float()
        target, weight = pack.target[asked], pack.weight[asked]
        loss = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
        if align_weight > 0:
            loss = loss + align_weight * self._alignment(patches, pack.words)
        return loss

    def margins(self, pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
        """Logit of Yes minus logit of No for every Yes/No lesson, and whether Yes is right."""
        hidden, _ = self.hidden(pack)
        asked = (pack.target == self.yes) | (pack.target == self.no)
        logits = self.llava.lm_head(hidden[asked]).float()
        return logits[:, self.yes] - logits[:, self.no], pack.target[asked] == self.yes

    def _alignment(self, patches: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """A projected patch should lie close to the embedding of its word and of its role."""
        table = self.llava.model.language_model.embed_tokens(self.name_ids)
        names = (table * self.name_mask[..., None]).sum(1) / self.name_mask.sum(1, keepdim=True)
        front = words.flatten() != self.n_classes
        logits = patches.flatten(0, 2)[front] @ names.to(patches.dtype).T * patches.shape[-1] ** -0.5
        own = words.flatten()[front]
        word_loss = F.cross_entropy(logits[:, : self.n_classes].float(), own)
        role = self.role_of_class[own]
        role_loss = F.cross_entropy(logits[:, self.n_classes :].float(), role, ignore_index=-100)
        return word_loss + role_loss


def _mask(segment: torch.Tensor, prefix: int, dtype: torch.dtype) -> torch.Tensor:
    """Additive [b, 1, l, l]: causal, and a lesson sees the prefix and itself alone."""
    b, n = segment.shape
    whole = torch.cat([torch.zeros(b, prefix, dtype=segment.dtype), segment], dim=1)
    causal = torch.ones(prefix + n, prefix + n, dtype=torch.bool).tril()
    same = (whole[:, :, None] == whole[:, None, :]) | (torch.arange(prefix + n) < prefix)[None, None, :]
    allowed = causal[None] & same
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)[:, None]


def train_ranker(
    art_folder: Path, dense: Path, work: Path, policy: Policy, recipe: RankerRecipe, console: Console, *, features: Path
) -> Path:
    """Train, or resume, and return the checkpoint's path. `features` is the folder of the feature cache."""
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "ranker.pt"
    art = Art(art_folder)
    classes = Classes.of_art(art)
    clip, state = load_training_checkpoint(dense)
    seen, words = cache_features(clip, art, classes, features, count=recipe.videos, seed=recipe.seed, console=console)
    held_seen, held_words = cache_features(clip, art, classes, features, count=256, seed=10_007, console=console)
    frames, held_frames = (
        TrainingFrames(art, classes, recipe.videos, recipe.seed),
        TrainingFrames(art, classes, 256, 10_007),
    )
    videos = [frames.truth(i) for i in range(recipe.videos)]
    torch.manual_seed(recipe.seed)
    tokens = tokenizer(art, policy)
    tokens.save_pretrained(work / "tokenizer")
    model = build(state["config"], tokens)
    load_tower(model, state["model"])
    trainer = RankerTrainer(model, tokens, classes)
    learned = [p for n, p in trainer.named_parameters() if "vision_tower" not in n]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in learned if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True,
    )  # fmt: skip
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["spent_s"]
        if spent >= recipe.minutes * 60:
            return checkpoint
    teacher = Teacher(policy)
    packer = Packer(seen, words, videos, teacher, tokens, recipe.seed + step)
    examiner = Packer(held_seen, held_words, [held_frames.truth(i) for i in range(256)], teacher, tokens, 5)
    exams = {
        "D1": [
            examiner.pack([examiner.whole(i) for i in range(j, j + 32)], d1=10, d2=0, d3=0) for j in range(0, 256, 32)
        ],
        "D3": [
            examiner.pack([examiner.whole(i) for i in range(j, j + 32)], d1=0, d2=0, d3=6) for j in range(0, 256, 32)
        ],
    }
    streams = {
        1: packer.batches(recipe.batch, frames=1, d1=10, d2=0, d3=3),
        2: packer.batches(recipe.batch, frames=FRAMES, d1=6, d2=1, d3=6),
    }
    budget, started, scores = recipe.minutes * 60, time.monotonic() - spent, {"D1": 0.0, "D3": 0.0}
    done = False
    while not done:
        elapsed = time.monotonic() - started
        progress = min(elapsed / budget, 1.0)
        done = progress >= 1.0
        rate = recipe.learning_rate * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        pack = next(streams[1 if progress < recipe.first_phase else 2])
        with torch.autocast("cpu", torch.bfloat16):
            loss = trainer.loss(pack, recipe.align_weight)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0 or done:
            scores = {name: _examine(trainer, packs) for name, packs in exams.items()}
            told = ", ".join(f"{name} ROC-AUC {value:.3f}" for name, value in scores.items())
            console.print(
                f"ranker: {elapsed / 60:5.1f} of {recipe.minutes:.0f} min, step {step}, loss {loss.item():.3f}, {told}"
            )
            saved = {
                "model": model.state_dict(), "clip_config": state["config"], "optimizer": optimizer.state_dict(),
                "step": step, "spent_s": elapsed, "scores": scores,
            }  # fmt: skip
            torch.save(saved, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
    return checkpoint


def export_ranker(checkpoint: Path, tokenizer_folder: Path, out: Path) -> None:
    """Write a training checkpoint as the model directory that transformers and vLLM load."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    tokens = PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
    model = build(saved["clip_config"], tokens)
    model.load_state_dict(saved["model"])
    export(model, tokens, out)


@torch.inference_mode()
def _examine(trainer: RankerTrainer, packs: Sequence[Pack]) -> float:
    """ROC-AUC of the Yes/No answers to held-out lessons, all lessons pooled."""
    trainer.eval()
    with torch.autocast("cpu", torch.bfloat16):
        pairs = [trainer.margins(pack) for pack in packs]
    trainer.train()
    margin, truth = (torch.cat(column).numpy() for column in zip(*pairs, strict=True))
    return roc_auc(margin.astype(np.float64), truth, np.ones(len(truth)))
