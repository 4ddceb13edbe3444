"""Checkpoints of a training: trained weights, the optimizer's state, the position; each in a folder of its own."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file, save_file

_POSITION = "position.json"  # written last: a folder without it is not complete


class EpochResult(BaseModel):
    """What was measured on the held-out samples at the end of an epoch.

    Attributes:
        epoch: from 1; 0 is before any training.
        train_loss: mean over the epoch's samples; None before any training.
        held_out_loss: mean over the held-out samples of the phase's data sets, by which the best epoch is chosen.
        losses: mean for each data set.
        roc_auc, pr_auc: of p(Yes) over the held-out questions of D3; None where all have one answer.
        checkpoint: its folder's name.
    """

    model_config = ConfigDict(frozen=True)

    phase: str
    epoch: int
    train_loss: float | None
    held_out_loss: float
    losses: dict[str, float]
    roc_auc: float | None
    pr_auc: float | None
    checkpoint: str = ""


class Position(BaseModel):
    """Where a training stands: the next step to do.

    Attributes:
        phase: index of the phase.
        epoch: epochs of it that are done.
        step: steps done of the epoch that runs.
        lost: sum of the losses of the samples of that epoch.
        seconds: of training so far, over all runs.
        results: of the epochs that are done.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    lost: float = 0.0
    seconds: float = 0.0
    results: tuple[EpochResult, ...] = ()

    def best(self, phase: str) -> EpochResult:
        """The trained epoch of a phase with the least held-out loss."""
        done = [each for each in self.results if each.phase == phase and each.epoch > 0]
        return min(done, key=lambda each: each.held_out_loss)


class Checkpoints:
    """The folder of a training's checkpoints; keeps the latest and the best of each phase."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def name(self, position: Position) -> str:
        """Of the checkpoint at a position; names sort by age."""
        return f"phase{position.phase}-epoch{position.epoch:04d}-step{position.step:07d}"

    def save(self, position: Position, weights: Mapping[str, torch.Tensor], optimizer: Any) -> None:
        """Write a checkpoint, and delete those that are needed no longer.

        Args:
            position: names it.
            weights: see `model.trained_state`.
            optimizer: whose state is kept.
        """
        folder = self._folder / self.name(position)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        save_file(dict(weights), folder / "weights.safetensors")
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")
        whole = folder / f"{_POSITION}.part"
        with whole.open("w", encoding="utf-8") as file:
            file.write(position.model_dump_json(indent=2) + "\n")
            os.fsync(file.fileno())
        whole.replace(folder / _POSITION)
        kept = {folder.name} | {position.best(each.phase).checkpoint for each in position.results if each.epoch > 0}
        for other in self._folder.iterdir():
            if other.name not in kept:
                shutil.rmtree(other)

    def latest(self) -> Position | None:
        """Where the newest complete checkpoint stands; None where there is none.

        Raises:
            ValueError: it cannot be read.
        """
        names = sorted(path.parent.name for path in self._folder.glob(f"*/{_POSITION}"))
        if not names:
            return None
        path = self._folder / names[-1] / _POSITION
        try:
            return Position.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"{path} is no position of a training; delete its folder") from error

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """The trained weights of a checkpoint.

        Raises:
            ValueError: it is damaged.
        """
        path = self._folder / name / "weights.safetensors"
        try:
            return load_file(path)
        except Exception as error:
            # safetensors raises an error of its own, which is no public class of the package's types.
            raise ValueError(f"{path} cannot be read; delete its folder: {error}") from error

    def load_optimizer(self, name: str, optimizer: Any) -> None:
        """Give an optimizer the state that it had at a checkpoint."""
        path = self._folder / name / "optimizer.pt"
        optimizer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
