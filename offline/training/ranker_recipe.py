"""How the bundled ranker is trained: strategies, parts of a training, and the learning rate along it. Pure."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from offline.demo_world.art import TRAINING_STYLES, Style
from offline.training.videos import FRAMES
from services.contracts import PromptName

Strategy = Literal["multi_task", "phased"]
DataSet = Literal["d1", "d2", "d3"]
DATA_SETS: tuple[DataSet, ...] = ("d1", "d2", "d3")


@dataclass(frozen=True)
class RankerRecipe:
    """Settings of the ranker's training.

    Attributes:
        minutes: wall time without the making of the features.
        strategy: D1, D2 and D3 mixed, or D1 and D2 to their best state and then D3 (Filter-And-Refine, 4.3).
        templates: prompts of D3's lessons; one that is given twice is taught twice as often.
        data: data sets that are used.
        label_share: share of the training videos whose labels D3 may use, in (0, 1].
        sent_share: share of D3's whole videos that are such as the router sends on, where there is one.
        start: checkpoint to go on from; it has learnt to read, so that only the last part is trained. It may have had
            another tower.
        videos: number of training videos.
        batch: videos in a step.
        learning_rate: the highest.
        align_weight: of the loss that wants a patch near the word of what is there.
    """

    minutes: float = 40.0
    strategy: Strategy = "multi_task"
    templates: tuple[PromptName, ...] = ("P2",)
    data: tuple[DataSet, ...] = DATA_SETS
    label_share: float = 1.0
    sent_share: float = 0.5
    start: Path | None = None
    videos: int = 12000
    batch: int = 12
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    align_weight: float = 0.5
    styles: tuple[Style, ...] = TRAINING_STYLES
    seed: int = 11


@dataclass(frozen=True)
class Part:
    """A stretch of a training.

    Attributes:
        name: what a log says.
        share: of the training's time.
        frames: of each video.
        lessons: of D1, D2 and D3 behind a video; none at all in the part that only aligns patches with words.
        course: parts of one course share a learning rate that rises once and falls once.
        projector_only: the language model stays as it is.
        keep_best: the next part begins with the state of this one that answered held-out lessons best.
    """

    name: str
    share: float
    frames: int
    lessons: tuple[int, int, int]
    course: int = 0
    projector_only: bool = False
    keep_best: bool = False

    @property
    def aligns_only(self) -> bool:
        """Whether the language model is left out."""
        return not any(self.lessons)


ALIGN = Part("words", 0.06, 1, (0, 0, 0))


def parts(recipe: RankerRecipe, *, new_eyes: bool = False) -> tuple[Part, ...]:
    """The parts of a training, in order; their shares sum to 1.

    A language model that knows nothing first learns the words of single frames, then whole videos. One that starts from
    a checkpoint with another tower (`new_eyes`) first has the projector learn the words that it knows.

    Raises:
        ValueError: there is nothing to learn from.
    """
    d1, d2, d3 = (name in recipe.data for name in DATA_SETS)
    if not (d1 or d2 or d3):
        raise ValueError("a recipe needs at least one data set")
    if recipe.strategy == "phased" and d3 and (d1 or d2):
        knowing = [
            Part("D1 on frames", 0.24, 1, (12 * d1, 0, 0) if d1 else (0, 1, 0)),
            Part("D1 and D2", 0.3, FRAMES, (10 * d1, 1 * d2, 0), keep_best=True),
        ]
        found = [*([] if recipe.start else [ALIGN, *knowing]), Part("D3", 0.4, FRAMES, (0, 0, 10), course=1)]
    else:
        named = " and ".join(name.upper() for name in DATA_SETS if name in recipe.data)
        first = Part(f"{named} on frames", 0.3, 1, (10 * d1, d2 * (not d1 and not d3), 4 * d3))
        last = Part(named, 0.64, FRAMES, (6 * d1, 1 * d2, 6 * d3))
        found = [last] if recipe.start else [ALIGN, first, last]
    if recipe.start is not None:
        found = [replace(part, course=0) for part in found]
        if new_eyes:
            found.insert(0, replace(ALIGN, share=0.02, projector_only=True))
    whole = sum(part.share for part in found)
    return tuple(replace(part, share=part.share / whole) for part in found)


def part_at(planned: tuple[Part, ...], progress: float) -> int:
    """Index of the part at a progress in [0, 1]."""
    begun = 0.0
    for index, part in enumerate(planned[:-1]):
        begun += part.share
        if progress < begun:
            return index
    return len(planned) - 1


def rate_at(planned: tuple[Part, ...], progress: float, *, warm: float = 0.03) -> float:
    """Share of the highest learning rate at a progress in [0, 1]: a short rise, then a half cosine, in each course."""
    course = planned[part_at(planned, progress)].course
    begin = sum(part.share for part in planned if part.course < course)
    length = sum(part.share for part in planned if part.course == course)
    within = min(max((progress - begin) / length, 0.0), 1.0)
    return min(1.0, within / warm + 0.01) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * within)))
