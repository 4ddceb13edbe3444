"""The log of optimizer steps: one JSON document a line, without what a resumed run does again."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class StepEntry(BaseModel):
    """One optimizer step.

    Attributes:
        phase: its name.
        epoch: from 1.
        step: of the epoch, from 1.
        loss: mean over the batch.
        learning_rate: of this step.
        gradient_norm: before clipping.
        seconds: of training so far.
    """

    model_config = ConfigDict(frozen=True)

    phase: str
    epoch: int
    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float


class StepLog:
    """A JSONL file; `written` says that this process is the one that writes it."""

    def __init__(self, path: Path, *, written: bool) -> None:
        self._path, self._written = path, written

    def keep(self, entries: int) -> None:
        """Drop everything behind the first entries, which a resumed run does again."""
        if self._written:
            old = self._path.read_text(encoding="utf-8").splitlines(keepends=True) if self._path.exists() else []
            self._path.write_text("".join(old[:entries]), encoding="utf-8")

    def add(self, entry: StepEntry) -> None:
        """Append an entry."""
        if self._written:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry.model_dump()) + "\n")
