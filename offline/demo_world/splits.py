"""Which scenes make up each split: a pure function of the generator's seed, the split, the kind and an index."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from offline.demo_world.art import WORLD_STYLES, Style
from offline.demo_world.scene import Kind, Pools, Scene, compose
from offline.demo_world.taxonomy import ISSUES, LOOK_ALIKES, violated

Split = Literal["train", "bank", "calibration", "test", "test_openmoji"]
SPLITS: tuple[Split, ...] = ("train", "bank", "calibration", "test", "test_openmoji")
KINDS: tuple[Kind, ...] = ("violation", "look_alike", "other")
DEFAULT_SEED = 20261122

MIX: dict[Kind, float] = {"violation": 0.01, "look_alike": 0.19, "other": 0.80}
"""Shares of traffic (demo world). Strata are sampled in other shares and reweighted to these."""


@dataclass(frozen=True)
class Counts:
    """How many videos of each kind a split has."""

    violation: int = 0
    look_alike: int = 0
    other: int = 0

    def of(self, kind: Kind) -> int:
        """Videos of one kind."""
        return {"violation": self.violation, "look_alike": self.look_alike, "other": self.other}[kind]

    @property
    def total(self) -> int:
        """Videos of all kinds."""
        return self.violation + self.look_alike + self.other


FULL: Mapping[Split, Counts] = MappingProxyType(
    {
        "train": Counts(4000, 4000, 2000),
        "bank": Counts(violation=500 * len(ISSUES)),
        "calibration": Counts(800, 2000, 4000),
        "test": Counts(800, 2000, 4000),
        "test_openmoji": Counts(800, 2000, 4000),
    }
)
"""Full sizes (demo world): the traffic splits at least 800 / 2,000 / 4,000, 500 known violations an issue in the bank;
train, of which the data sets are drawn, is balanced between violations and look-alikes."""


def styles_of(split: Split) -> tuple[Style, ...]:
    """The art styles of a split."""
    return ("openmoji",) if split == "test_openmoji" else WORLD_STYLES


def scene_at(seed: int, split: Split, kind: Kind, index: int, pools: Pools) -> Scene:
    """The scene number `index` of a kind in a split. Issues take turns, and so do the sorts of look-alikes."""
    rng = np.random.default_rng([seed, SPLITS.index(split), KINDS.index(kind), index])
    turn = ISSUES[index % len(ISSUES)]
    sort = LOOK_ALIKES[(index + index // len(ISSUES)) % len(LOOK_ALIKES)]
    return compose(
        rng, pools, video_id=f"{split}-{kind}-{index:05d}", kind=kind, styles=styles_of(split), issue=turn.id,
        look_alike=sort if kind == "look_alike" else None,
    )  # fmt: skip


def guilty_segment(scene: Scene, issue: str) -> tuple[float, float]:
    """Start and end, in seconds, of the first shot that violates the issue.

    Raises:
        ValueError: no shot does.
    """
    for shot in scene.shots:
        if issue in violated((shot.names,)):
            return shot.start_s, shot.end_s
    raise ValueError(f"{scene.id} does not violate {issue}")
