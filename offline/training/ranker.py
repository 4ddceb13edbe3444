"""Trains the bundled ranker on cached features: many lessons behind one image prefix, the vision tower frozen."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn
from transformers import PreTrainedTokenizerFast

from offline.demo_world.art import Art
from offline.statistics import roc_auc
from offline.training.clip_model import load_training_checkpoint
from offline.training.features import TrainingFrames, cache_features
from offline.training.packing import Pack, Packer
from offline.training.questions import Teacher
from offline.training.ranker_model import build, export, load_tower, tokenizer
from offline.training.ranker_recipe import Part, RankerRecipe, part_at, parts, rate_at
from offline.training.ranker_trainer import RankerTrainer
from offline.training.sent_on import Router
from offline.training.videos import TrainingVideo
from offline.training.vocabulary import Classes
from services.policy import Policy

EXAM_VIDEOS, EXAM_SEED, REPORT_STEPS = 256, 10_007, 100


def train_ranker(
    art_folder: Path,
    dense: Path,
    work: Path,
    policy: Policy,
    recipe: RankerRecipe,
    console: Console,
    *,
    features: Path,
    router: Path | None = None,
) -> Path:
    """Train, or resume, and return the checkpoint's path.

    Args:
        art_folder: of the sprites.
        dense: checkpoint of the tower.
        work: folder of the checkpoints.
        policy: names the issues and their definitions.
        recipe: see there.
        console: where progress goes.
        features: folder of the feature cache.
        router: model directory of the router on the same tower: D3 is taught on what it sends on too.
    """
    work.mkdir(parents=True, exist_ok=True)
    checkpoint, best = work / "ranker.pt", work / "best.pt"
    art = Art(art_folder, recipe.styles)
    classes = Classes.of_art(art)
    clip, state = load_training_checkpoint(dense)
    seen, words = cache_features(clip, art, classes, features, count=recipe.videos, seed=recipe.seed, console=console)
    truth = TrainingFrames(art, classes, recipe.videos, recipe.seed)
    videos = [truth.truth(i) for i in range(recipe.videos)]
    held, held_words = cache_features(clip, art, classes, features, count=EXAM_VIDEOS, seed=EXAM_SEED, console=console)
    held_truth = TrainingFrames(art, classes, EXAM_VIDEOS, EXAM_SEED)
    held_videos = [held_truth.truth(i) for i in range(EXAM_VIDEOS)]
    if router is not None:
        eyes = Router(clip, router, seen, videos)
        videos = _sent_on(videos, eyes.sends_on(seen))
        held_videos = _sent_on(held_videos, eyes.sends_on(held))
    torch.manual_seed(recipe.seed)
    tokens = tokenizer(art, policy)
    tokens.save_pretrained(work / "tokenizer")
    model = build(state["config"], tokens)
    load_tower(model, state["model"])
    new_eyes = recipe.start is not None and _go_on(model, recipe.start)
    planned = parts(recipe, new_eyes=new_eyes)
    trainer = RankerTrainer(model, tokens, classes)
    optimizer = _optimizer(trainer, recipe)
    step, spent, part, best_score = 0, 0.0, 0, -1.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent, part, best_score = saved["step"], saved["spent_s"], saved["part"], saved["best_score"]
        if spent >= recipe.minutes * 60:
            return checkpoint
    teacher = Teacher(policy, recipe.templates)
    packer = Packer(
        seen, words, videos, teacher, tokens, recipe.seed + step, label_share=recipe.label_share,
        sent_share=recipe.sent_share,
    )  # fmt: skip
    examiner = Packer(held, held_words, held_videos, teacher, tokens, 5)
    exams = {"D1": examiner.exam(d1=10, d2=0, d3=0), "D3": examiner.exam(d1=0, d2=0, d3=6)}
    if hard := [i for i, video in enumerate(held_videos) if video.sent_on]:
        chosen = Packer(held[hard], held_words[hard], [held_videos[i] for i in hard], teacher, tokens, 5)
        exams["D3 sent on"] = chosen.exam(d1=0, d2=0, d3=3)
    streams = {index: _stream(packer, each, recipe.batch) for index, each in enumerate(planned)}
    budget, started = recipe.minutes * 60, time.monotonic() - spent
    done = False
    while not done:
        elapsed = time.monotonic() - started
        progress = min(elapsed / budget, 1.0)
        done = progress >= 1.0
        now = part_at(planned, progress)
        if now != part and planned[part].keep_best and best.exists():
            model.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["model"])
        part = now
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate_at(planned, progress)
        pack = next(streams[part])
        with torch.autocast("cpu", torch.bfloat16):
            if planned[part].aligns_only:
                patches = model.model.multi_modal_projector(pack.features)
                loss = trainer.alignment(patches, pack.words)
            else:
                loss = trainer.loss(pack, recipe.align_weight)
        optimizer.zero_grad()
        loss.backward()
        if planned[part].projector_only:
            for parameter in model.model.language_model.parameters():
                parameter.grad = None
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
        optimizer.step()
        step += 1
        if step % REPORT_STEPS == 0 or done:
            scores = {name: _examine(trainer, packs) for name, packs in exams.items()}
            told = ", ".join(f"{name} ROC-AUC {value:.3f}" for name, value in scores.items())
            console.print(
                f"ranker: {elapsed / 60:5.1f} of {recipe.minutes:.0f} min, {planned[part].name}, step {step}, "
                f"loss {loss.item():.3f}, {told}"
            )
            saved = {
                "model": model.state_dict(), "clip_config": state["config"], "optimizer": optimizer.state_dict(),
                "step": step, "spent_s": elapsed, "part": part, "best_score": best_score, "scores": scores,
            }  # fmt: skip
            if planned[part].keep_best and scores["D1"] > best_score:
                best_score = saved["best_score"] = scores["D1"]
                _write(best, {"model": model.state_dict()})
            _write(checkpoint, saved)
    return checkpoint


def _sent_on(videos: Sequence[TrainingVideo], issues: Sequence[tuple[str, ...]]) -> list[TrainingVideo]:
    return [replace(video, sent_on=own) for video, own in zip(videos, issues, strict=True)]


def _go_on(model: Any, start: Path) -> bool:
    """Give the model what a checkpoint's projector and language model have learnt; whether that had another tower.

    Raises:
        ValueError: its language model has other dimensions.
    """
    saved = torch.load(start, map_location="cpu", weights_only=True)["model"]
    own = model.state_dict()
    learnt = {name: tensor for name, tensor in saved.items() if "vision_tower" not in name}
    for name, tensor in learnt.items():
        if name not in own or own[name].shape != tensor.shape:
            raise ValueError(f"{start}: a ranker cannot go on from one whose {name} is {tuple(tensor.shape)}")
    tower = [name for name in own if "vision_tower" in name]
    new_eyes = any(name not in saved or not torch.equal(own[name], saved[name]) for name in tower)
    model.load_state_dict(learnt, strict=False)
    return new_eyes


def _stream(packer: Packer, part: Part, batch: int) -> Iterator[Pack]:
    """Batches for a part. Without lessons a step costs a tenth: it may look at more videos."""
    d1, d2, d3 = part.lessons
    return packer.batches(batch * 8 if part.aligns_only else batch, frames=part.frames, d1=d1, d2=d2, d3=d3)


def _optimizer(trainer: RankerTrainer, recipe: RankerRecipe) -> torch.optim.Optimizer:
    learned = [p for n, p in trainer.named_parameters() if "vision_tower" not in n]
    return torch.optim.AdamW(
        [
            {"params": [p for p in learned if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True,
    )  # fmt: skip


def _write(path: Path, state: dict[str, Any]) -> None:
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def load_trainer(checkpoint: Path, tokenizer_folder: Path, classes: Classes) -> RankerTrainer:
    """The trained model of a checkpoint, ready to answer.

    Args:
        checkpoint: ranker.pt of a training.
        tokenizer_folder: `tokenizer` beside it.
        classes: of the art that it was trained on.
    """
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    tokens = PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
    model = build(saved["clip_config"], tokens)
    model.load_state_dict(saved["model"])
    return RankerTrainer(model, tokens, classes).eval()


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
