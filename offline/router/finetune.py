"""Fine-tunes any open_clip checkpoint for the router, on frames of labelled segments. Resumes where it stopped.

Supervised contrast on the fine-grained label with look-alikes as hard negatives (Liang et al. 2025), proxies beside it,
and if wanted the contrast with captions. The contrast is among the frames of one batch: accumulated batches average
their gradients, and do not see each other.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from offline.manifest import Labelled
from offline.router.eyes import Eyes, examine
from offline.router.frame_store import store_frames
from offline.router.lessons import FinetuneRecipe, Lessons, batch_loader, rate_at
from offline.router.segments import held_out, multi_hot, near_misses, segments_of
from offline.router.tower import Learning, Tower, export
from offline.training.contrast import Objective
from services.encoder.open_clip import load_parts

CHECKPOINT = "checkpoint.pt"


def finetune(
    model: str, pretrained: str | None, rows: Sequence[Labelled], out: Path, learning: Learning, recipe: FinetuneRecipe,
    console: Console, *, device: str = "cpu", short_side: int = 336, workers: int = 2, half: bool = False,
    save_every: int = 100,
) -> list[float]:  # fmt: skip
    """Train, or resume, and export to `out`; gives the mean loss of each step of this run.

    Raises:
        ValueError: the videos teach nothing, nothing would learn, or `out` holds a run with other settings.
    """
    parts = load_parts(model, pretrained, device)
    if learning.captions != (recipe.caption_weight > 0):
        learning = replace(learning, captions=recipe.caption_weight > 0)
    segments = segments_of(rows, frames=recipe.frames)
    labels = sorted({issue for segment in segments for issue in segment.issues})
    work = out / "training"
    pictures, usable = store_frames(
        segments, parts.preprocess, work, console, frames=recipe.frames, short_side=short_side
    )
    issues = multi_hot([s.issues for s in segments], labels)
    near = multi_hot([s.near for s in segments], labels)
    kept = held_out(segments, recipe.held_out)
    places, exam = np.flatnonzero(usable & ~kept), np.flatnonzero(usable & kept)
    if not labels or not issues[places].any() or issues[places].any(axis=1).all():
        raise ValueError("to learn the difference takes videos that violate something and videos that do not")
    torch.manual_seed(recipe.seed)
    tower = Tower(parts, learning).to(device)
    eyes = Eyes(tower, parts.preprocess, device, recipe.bf16)
    near[places] = near_misses(eyes.mean_vectors(pictures, places), issues[places], near[places], share=recipe.near)
    lessons = Lessons(pictures, issues, near, [s.caption for s in segments])
    objective = Objective(
        len(labels), tower.dim, temperature=recipe.temperature, proxy_weight=recipe.proxy_weight,
        hard_weight=recipe.hard_weight,
    ).to(device)  # fmt: skip
    groups = [*tower.rates(recipe.tower_rate, recipe.head_rate),
              {"params": list(objective.parameters()), "lr": recipe.head_rate, "base": recipe.head_rate}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    settings = {**asdict(recipe), **asdict(learning), "model": model, "labels": labels, "segments": len(segments)}
    step = _resume(work / CHECKPOINT, settings, tower, objective, optimizer)
    tokenizer = _tokenizer(parts.name) if learning.captions else None
    batches = iter(batch_loader(lessons, places, recipe, first=step * recipe.accumulate, workers=workers))
    losses: list[float] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("fine-tuning", total=recipe.steps, completed=step)
        while step < recipe.steps:
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * rate_at(step / recipe.steps, recipe.warm_up)
            tower.train()
            total = 0.0
            for _ in range(recipe.accumulate):
                loss = _loss(eyes, objective, lessons, next(batches), recipe, tokenizer) / recipe.accumulate
                loss.backward()
                total += float(loss.detach())
            torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(total)
            step += 1
            progress.update(task, completed=step, description=f"fine-tuning, loss {total:.3f}")
            if step % save_every == 0 or step == recipe.steps:
                _save(work / CHECKPOINT, settings, tower, objective, optimizer, step)
                score = examine(eyes, lessons, places, exam, recipe.seed)
                told = "no held-out violations" if math.isnan(score) else f"held-out frame ROC-AUC {score:.3f}"
                console.print(f"step {step} of {recipe.steps}, loss {np.mean(losses[-save_every:]):.3f}, {told}")
    export(tower, parts, out, half=half)
    return losses


def _loss(
    eyes: Eyes, objective: Objective, lessons: Lessons, batch: tuple[torch.Tensor, torch.Tensor],
    recipe: FinetuneRecipe, tokenizer: Any,
) -> torch.Tensor:  # fmt: skip
    chosen, frames = batch[0].numpy(), batch[1]
    issues, near = (torch.from_numpy(each[chosen]).to(eyes.device) for each in (lessons.issues, lessons.near))
    pixels = eyes.pixels(frames)
    with eyes.autocast():
        z = eyes.tower(pixels)
    loss: torch.Tensor = objective(z.float(), issues, near)
    told = [i for i, place in enumerate(chosen) if lessons.captions[place]]
    if tokenizer is not None and len(told) > 1:
        tokens = tokenizer([lessons.captions[chosen[i]] for i in told]).to(eyes.device)
        with eyes.autocast():
            loss = loss + recipe.caption_weight * eyes.tower.caption_loss(pixels[told], tokens)
    return loss


def _tokenizer(name: str) -> Any:
    from open_clip import get_tokenizer

    return get_tokenizer(name)


def _save(path: Path, settings: dict[str, Any], tower: Tower, objective: Objective, optimizer: Any, step: int) -> None:
    state = {
        "settings": settings, "tower": tower.state_dict(), "objective": objective.state_dict(),
        "optimizer": optimizer.state_dict(), "step": step,
    }  # fmt: skip
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def _resume(path: Path, settings: dict[str, Any], tower: Tower, objective: Objective, optimizer: Any) -> int:
    """Loads a checkpoint, if there is one, and gives its step."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    other = [name for name, value in settings.items() if name != "steps" and state["settings"].get(name) != value]
    if other:
        raise ValueError(
            f"{path} is of a run with other settings ({', '.join(other)}); choose another folder or remove it"
        )
    tower.load_state_dict(state["tower"])
    objective.load_state_dict(state["objective"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
