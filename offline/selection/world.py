"""The demo world's splits as the two comparisons see them: written where they lack videos, embedded once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console

from offline.demo_world.generate import generate
from offline.demo_world.splits import DEFAULT_SEED, KINDS, Counts, Split
from offline.demo_world.taxonomy import ISSUES
from offline.manifest import Labelled, read_manifest
from offline.router.segments import Segment
from offline.router.views import Clip, Viewer, Views
from offline.selection.banks import IDS, Floats32, Traffic, vectors_of
from offline.selection.pool import mean_vector, violating

Space = Literal["served", "caption"]
"""Vectors as the router has them, or, of a model with a head, the image embedding that the head does without."""
CLEAN = Counts(look_alike=190, other=800)
"""In the proportions of traffic."""


SOURCE = Counts(violation=160, look_alike=800, other=1000)
"""Of the calibration split, those that backgrounds are fitted on included."""
KNOWN = 410
"""Look-alikes of the calibration split that negatives are made of."""


@dataclass(frozen=True)
class Calibration:
    """The calibration split in three parts that share no video.

    Attributes:
        clean: [f, d] frames of clean videos, for backgrounds.
        look_alikes: what negatives are made of.
        tuning: traffic to choose values on.
    """

    clean: Floats32
    look_alikes: Sequence[Labelled]
    tuning: Traffic


@dataclass(frozen=True)
class SeedPool:
    """Violating segments of the bank split.

    Attributes:
        segments: n of them, in the order of the manifest.
        frames: [f, d] unit vectors of their frames.
        owner: [f], the segment of each frame.
        means: [n, d] unit vectors, the means over the frames.
    """

    segments: tuple[Segment, ...]
    frames: Floats32
    owner: np.ndarray
    means: Floats32

    def of(self, issue: str) -> np.ndarray:
        """Places of the segments that violate an issue."""
        return np.flatnonzero([issue in segment.issues for segment in self.segments])

    def bank(self, chosen: Mapping[str, np.ndarray]) -> dict[str, Floats32]:
        """Seed vectors [s, d] of every issue, of the segments at these places."""
        return {issue: self.frames[np.isin(self.owner, places)] for issue, places in chosen.items()}


class World:
    """The splits of a work folder, seen by one encoder.

    Args:
        work: with `art`, `videos` and what was seen, `views`.
        model: a model directory.
        console: for progress.
        seed_frames: frames of a seed.
        short_side: of decoded frames, pixels.
        clean_counts: clean videos of the calibration split that backgrounds are fitted on.
        seed: of the generator.
    """

    def __init__(
        self, work: Path, model: Path, console: Console, *, seed_frames: int, short_side: int,
        clean_counts: Counts = CLEAN, seed: int = DEFAULT_SEED,
    ) -> None:  # fmt: skip
        self.work, self.seed, self._console = work, seed, console
        self.seed_frames, self.clean_counts = seed_frames, clean_counts
        self.viewer = Viewer(str(model), short_side=short_side, cache=work / "views")

    def rows(self, split: Split, counts: Counts) -> list[Labelled]:
        """The first videos of each kind of a split, as many as asked for; they are written where there are fewer."""
        manifest = self.work / "videos" / split / "manifest.jsonl"
        rows = read_manifest(manifest, issues=IDS) if manifest.exists() else []
        there = Counts(**{kind: sum(row.kind == kind for row in rows) for kind in KINDS})
        if any(there.of(kind) < counts.of(kind) for kind in KINDS):
            wanted = Counts(**{kind: max(there.of(kind), counts.of(kind)) for kind in KINDS})
            generate(self.work / "art", manifest.parent, split, wanted, self._console, seed=self.seed)
            rows = read_manifest(manifest, issues=IDS)
        return [row for kind in KINDS for row in [row for row in rows if row.kind == kind][: counts.of(kind)]]

    def traffic(self, rows: Sequence[Labelled], title: str, *, space: Space = "served") -> Traffic:
        """Whole videos, as the router samples them."""
        views = self.look([Clip(row.file) for row in rows], title)
        return Traffic(rows, views.pooled if space == "caption" else vectors_of(views), views.owner)

    def clean(self, *, space: Space = "served") -> Traffic:
        """Clean videos of the calibration split, for backgrounds."""
        return self.traffic(self.rows("calibration", self.clean_counts), "embedding clean videos", space=space)

    def calibration(self, source: Counts = SOURCE, known: int = KNOWN) -> Calibration:
        """The parts of the calibration split.

        Args:
            source: how much of it.
            known: look-alikes that follow on those of the clean part; the rest is to choose values on.
        """
        rows = self.rows("calibration", source)
        look_alikes, others = (
            rows[source.violation :][: source.look_alike],
            rows[source.violation + source.look_alike :],
        )
        unused = self.clean_counts.look_alike + known
        chosen_on = [*rows[: source.violation], *look_alikes[unused:], *others[self.clean_counts.other :]]
        return Calibration(
            self.clean().frames, look_alikes[unused - known : unused], self.traffic(chosen_on, "embedding calibration")
        )

    def bank(self, an_issue: int, *, space: Space = "served") -> SeedPool:
        """The violating segments of the bank split, so many videos of each issue."""
        rows = self.rows("bank", Counts(violation=an_issue * len(ISSUES)))
        segments = violating(rows, frames=self.seed_frames)
        views = self.look([segment.clip for segment in segments], "embedding the pool")
        frames = views.pooled if space == "caption" else vectors_of(views)
        means = np.stack([mean_vector(frames[views.owner == place]) for place in range(len(segments))])
        return SeedPool(tuple(segments), frames, views.owner, means)

    def look(self, clips: Sequence[Clip], title: str) -> Views:
        """What the encoder sees in clips, read where it was seen before."""
        return self.viewer.look(clips, title, self._console)
