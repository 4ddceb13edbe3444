"""Loads trained rankers and asks them about routed traffic; answers are kept on disk."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from transformers import PreTrainedTokenizerFast

from offline.paper.answers import Answered, answered
from offline.paper.figure3 import Space
from offline.paper.routed import Routed
from offline.paper.scoring import hidden_states, scores
from offline.paper.train import Trained
from offline.training.convert import vision_state
from offline.training.ranker import load_trainer
from offline.training.ranker_trainer import RankerTrainer
from offline.training.vocabulary import Classes
from services.contracts import IssueQuestions
from services.policy import Policy
from services.prompts import questions

Floats = npt.NDArray[np.float64]


class Asker:
    """One ranker, loaded when it is first needed.

    Args:
        trained: the model.
        classes: of the art that it was trained on.
        tower: state of the open_clip tower that the routed sets' features come from.
        console: shows what is done.
    """

    def __init__(self, trained: Trained, classes: Classes, tower: Mapping[str, torch.Tensor], console: Console) -> None:
        self._trained = trained
        self._classes = classes
        self._tower = tower
        self._console = console
        self._loaded: tuple[RankerTrainer, PreTrainedTokenizerFast] | None = None

    def answers(self, routed: Routed, policy: Policy, folder: Path) -> Answered:
        """What the ranker says about a routed set in the templates that it is asked in.

        Raises:
            ValueError: its tower is not the one that saw the set.
        """
        name = f"{routed.name}-{routed.key}-{self._trained.run.name}-{self._trained.fingerprint}.json"
        return answered(routed, policy, self._ask(routed), folder / name, self._trained.run.asked)

    def space(self, routed: Routed, policy: Policy, name: str) -> Space:
        """Its last hidden states where the overall question is answered.

        Raises:
            ValueError: its tower is not the one that saw the set.
        """
        trainer, tokens = self._ready()
        issue: IssueQuestions = policy.slice(None).issues[0]
        (overall,) = questions("P1", issue)  # names no issue
        return Space(name, hidden_states(trainer, tokens, routed.features, overall.text))

    def _ask(self, routed: Routed) -> Callable[[Sequence[Sequence[str]]], list[Floats]]:
        def ask(prompts: Sequence[Sequence[str]]) -> list[Floats]:
            count = sum(map(len, prompts))
            self._console.print(f"{self._trained.run.name}: {count} prompts about {len(prompts)} {routed.name} videos")
            trainer, tokens = self._ready()
            return scores(trainer, tokens, routed.features, prompts)

        return ask

    def _ready(self) -> tuple[RankerTrainer, PreTrainedTokenizerFast]:
        if self._loaded is None:
            trainer = load_trainer(self._trained.checkpoint, self._trained.tokenizer, self._classes)
            own = trainer.llava.model.vision_tower.state_dict()
            if any(not torch.equal(own[name], tensor) for name, tensor in vision_state(self._tower).items()):
                raise ValueError(f"{self._trained.checkpoint} has another vision tower than the features; delete it")
            self._loaded = trainer, PreTrainedTokenizerFast.from_pretrained(self._trained.tokenizer)
        return self._loaded
