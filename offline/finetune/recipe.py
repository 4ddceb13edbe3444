"""What a fine-tuning does: its recipe, its phases, and how a machine runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Part = Literal["d1", "d2", "d3"]
Strategy = Literal["multi_task", "phased"]
Precision = Literal["bf16", "fp32"]

PARTS: tuple[Part, ...] = ("d1", "d2", "d3")
LORA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Lora(BaseModel):
    """Low-rank adapters on linear layers of the language model.

    Attributes:
        rank: of the adapters.
        alpha: their product is scaled by alpha / rank.
        dropout: of their inputs, while training.
        modules: names of the layers that get one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(ge=1, le=1024)
    alpha: float = Field(gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    modules: tuple[str, ...] = Field(default=LORA_MODULES, min_length=1)


class Recipe(BaseModel):
    """Everything on which the trained weights depend, beside the checkpoint and the data sets.

    Attributes:
        strategy: `multi_task` mixes D1, D2 and D3; `phased` trains on D1 and D2, and from its best epoch on D3.
        epochs: of each phase; the best by held-out loss is kept.
        batch: samples of an optimizer step, over all processes.
        learning_rate: the highest of each phase.
        warmup: share of a phase's steps in which the rate rises from 0; it then falls to 0 along a cosine.
        lora: adapters; None trains the whole language model.
        train_projector: whether the projector is trained.
        train_vision: whether the vision tower is trained.
        frames: most frames of a video that the model sees.
        short_side: of a frame, pixels, as the router's setting.
        jpeg_quality: of a frame, as the router's setting.
        precision: `bf16` computes under autocast and keeps what is not trained in bfloat16 where there are adapters.
        held_out: share of the videos that are never trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = "multi_task"
    epochs: int = Field(default=3, ge=1, le=1000)
    batch: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=2e-5, gt=0, le=1)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    lora: Lora | None = None
    train_projector: bool = True
    train_vision: bool = False
    frames: int = Field(default=4, ge=1, le=64)
    short_side: int = Field(default=336, ge=16)
    jpeg_quality: int = Field(default=90, ge=1, le=95)
    precision: Precision = "bf16"
    held_out: float = Field(default=0.05, gt=0, le=0.5)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Run:
    """How a machine works through a recipe; it changes rounding and the order of nothing.

    Attributes:
        micro_batch: samples that one process sees at a time; gradients add up to the recipe's batch.
        workers: processes that prepare samples, for each training process.
        checkpoint_steps: optimizer steps between checkpoints; every epoch ends with one. 0: only then.
        gradient_checkpointing: activations are computed again instead of kept.
        cpu: no GPU is used even where there is one.
        resume: go on from the last checkpoint.
        every_phase: the best epoch of the first phase is exported as well.
    """

    micro_batch: int = 1
    workers: int = 2
    checkpoint_steps: int = 500
    gradient_checkpointing: bool = True
    cpu: bool = False
    resume: bool = False
    every_phase: bool = False


@dataclass(frozen=True)
class Phase:
    """A pass of training: which data sets are mixed in it. Its optimizer starts afresh."""

    name: str
    parts: tuple[Part, ...]


def phases(strategy: Strategy) -> tuple[Phase, ...]:
    """The phases of a strategy, in order (Filter-And-Refine, section 4.3)."""
    if strategy == "multi_task":
        return (Phase("multi_task", PARTS),)
    return (Phase("instruction", ("d1", "d2")), Phase("moderation", ("d3",)))


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What two JSON documents differ in, one line for each value."""
    told = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            told += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            told.append(f"{prefix}{name}: {old!r} before, {new!r} now")
    return told
