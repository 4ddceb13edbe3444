"""The training loop: phases, epochs, steps; checkpoints on the way, the best epoch of a phase at its end."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from offline.finetune.batches import Batch, EncodedSamples, answer_logits, answer_losses, load_batches
from offline.finetune.checkpoints import Checkpoints, EpochResult, Position
from offline.finetune.data import Sample
from offline.finetune.evaluate import HeldOut
from offline.finetune.log import StepEntry, StepLog
from offline.finetune.model import load_trained, trained_state
from offline.finetune.recipe import Phase, Recipe, Run, phases
from offline.finetune.schedule import batch_at, epoch_order, rate_factor, share, step_seed, steps_of


@dataclass(frozen=True)
class Trainer:
    """Everything that the loop works with.

    Attributes:
        accelerator: that prepared model and optimizer.
        model: as prepared.
        optimizer: as prepared.
        samples: to train on.
        encoded: the same, as tensors.
        evaluate: of the held-out samples, with the model as it is.
        pad: token id behind shorter samples.
    """

    accelerator: Accelerator
    model: Any
    optimizer: Any
    samples: Sequence[Sample]
    encoded: EncodedSamples
    evaluate: Callable[[], HeldOut]
    pad: int
    recipe: Recipe
    run: Run
    checkpoints: Checkpoints
    log: StepLog
    console: Console

    def fit(self, position: Position) -> Position:
        """Train from a position to the end; the model then has the weights of the last phase's best epoch.

        Raises:
            ValueError: the loss is not finite, or a checkpoint is damaged.
        """
        self._restore(position)
        if not position.results:
            result = self._measured(phases(self.recipe.strategy)[0], 0, None)
            position = position.model_copy(update={"results": (result,)})
        for index, phase in enumerate(phases(self.recipe.strategy)):
            if index < position.phase:
                continue
            while position.epoch < self.recipe.epochs:
                position = self._epoch(index, phase, position)
            best = position.best(phase.name)
            self._load(best.checkpoint)
            self.optimizer.optimizer.state.clear()
            self.console.print(f"{phase.name}: epoch {best.epoch} is the best, held-out loss {best.held_out_loss:.4f}")
            following = {"phase": index + 1, "epoch": 0, "step": 0, "lost": 0.0}
            position = position.model_copy(update=following)
        return position

    def _restore(self, position: Position) -> None:
        """Put model, optimizer and log where they were at a position that was read from a checkpoint."""
        planned = phases(self.recipe.strategy)
        lengths = [steps_of(len(self._own(phase)), self.recipe.batch) for phase in planned]
        done = sum(lengths[: position.phase]) * self.recipe.epochs + position.epoch * lengths[position.phase]
        done += position.step
        self.log.keep(done)
        if done:
            name = self.checkpoints.name(position)
            self._load(name)
            self.checkpoints.load_optimizer(name, self.optimizer.optimizer)
            self.console.print(f"resuming from {name}")

    def _load(self, checkpoint: str) -> None:
        self.accelerator.wait_for_everyone()  # the process that writes may still be at it
        load_trained(self.accelerator.unwrap_model(self.model), self.checkpoints.weights(checkpoint))

    def _own(self, phase: Phase) -> list[int]:
        return [index for index, sample in enumerate(self.samples) if sample.part in phase.parts]

    def _epoch(self, index: int, phase: Phase, position: Position) -> Position:
        recipe, own = self.recipe, self._own(phase)
        steps = steps_of(len(own), recipe.batch)
        order = epoch_order(len(own), seed=recipe.seed, phase=index, epoch=position.epoch)
        pieces = [self._share([own[i] for i in batch_at(order, step, recipe.batch)])
                  for step in range(position.step, steps)]  # fmt: skip
        batches = load_batches(
            self.encoded, [piece for step in pieces for piece in step], pad=self.pad, workers=self.run.workers
        )
        self.model.train()  # a model that was just loaded is not; gradient checkpointing asks for it
        started = time.monotonic() - position.seconds
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, disable=self.console.quiet) as progress:
            task = progress.add_task(
                f"{phase.name}, epoch {position.epoch + 1} of {recipe.epochs}", total=steps, completed=position.step
            )
            for own_pieces in pieces:
                group = [batch for _ in own_pieces for batch in next(batches)]
                done = position.epoch * steps + position.step
                rate = recipe.learning_rate * rate_factor(done, steps * recipe.epochs, recipe.warmup)
                loss, norm = self._step(group, rate, step_seed(recipe.seed, index, done, self._rank))
                if not math.isfinite(loss):
                    raise ValueError(f"{phase.name}: the loss is {loss} in step {done + 1}; lower --learning-rate")
                spent = time.monotonic() - started
                position = position.model_copy(
                    update={"step": position.step + 1, "lost": position.lost + loss, "seconds": spent}
                )
                self.log.add(
                    StepEntry(phase=phase.name, epoch=position.epoch + 1, step=position.step, loss=loss,
                              learning_rate=rate, gradient_norm=norm, seconds=spent)
                )  # fmt: skip
                progress.advance(task)
                every = self.run.checkpoint_steps
                if every and position.step % every == 0 and position.step < steps:
                    self._save(position)
        return self._end(phase, position, steps, started)

    def _end(self, phase: Phase, position: Position, steps: int, started: float) -> Position:
        """The position behind an epoch, measured and saved."""
        measured = self._measured(phase, position.epoch + 1, position.lost / steps)
        position = position.model_copy(
            update={"epoch": position.epoch + 1, "step": 0, "lost": 0.0, "seconds": time.monotonic() - started}
        )
        result = measured.model_copy(update={"checkpoint": self.checkpoints.name(position)})
        position = position.model_copy(update={"results": (*position.results, result)})
        self._save(position)
        return position

    @property
    def _rank(self) -> int:
        return int(self.accelerator.process_index)

    def _share(self, batch: Sequence[int]) -> list[list[int]]:
        world = self.accelerator.num_processes
        return share(batch, rank=self._rank, world=world, micro_batch=self.run.micro_batch)

    def _step(self, batches: Sequence[Batch], rate: float, seed: int) -> tuple[float, float]:
        """One optimizer step: the mean loss of the batch over all processes, and the norm of its gradient."""
        torch.manual_seed(seed)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Gradients are averaged over the processes.
        scale = self.accelerator.num_processes / self.recipe.batch
        total = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                moved = batch.to(self.accelerator.device)
                losses = answer_losses(answer_logits(self.model, moved, self.recipe.precision), moved.targets)
                self.accelerator.backward(losses.sum() * scale)
                total += losses.detach().sum()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        norm = self.accelerator.clip_grad_norm_(trained, self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(self.accelerator.reduce(total, "sum")) / self.recipe.batch, float(norm or 0.0)

    def _measured(self, phase: Phase, epoch: int, train_loss: float | None) -> EpochResult:
        held_out = self.evaluate()
        result = EpochResult(
            phase=phase.name, epoch=epoch, train_loss=train_loss, held_out_loss=held_out.loss(phase.parts),
            losses=dict(held_out.losses), roc_auc=held_out.roc_auc, pr_auc=held_out.pr_auc,
        )  # fmt: skip
        trained = "before training" if train_loss is None else f"epoch {epoch}: training loss {train_loss:.4f}"
        losses = ", ".join(f"{part} {loss:.4f}" for part, loss in sorted(result.losses.items()))
        area = "" if result.roc_auc is None else f"; D3 ROC-AUC {result.roc_auc:.3f}, PR-AUC {result.pr_auc:.3f}"
        self.console.print(f"{phase.name}, {trained}; held-out loss {losses}{area}")
        return result

    def _save(self, position: Position) -> None:
        if self.accelerator.is_main_process:
            weights = trained_state(self.accelerator.unwrap_model(self.model))
            self.checkpoints.save(position, weights, self.optimizer.optimizer)
