"""The paper's three measures over routed traffic, by video and by pair, with bootstrap intervals. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from offline.paper.routed import Routed
from offline.statistics import Estimate, bootstrap, max_f1, pr_auc, roc_auc

ROUNDS = 500
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Measure = Callable[[Floats, npt.NDArray[np.bool_], Floats], float]
MEASURES: tuple[Measure, ...] = (pr_auc, roc_auc, max_f1)


@dataclass(frozen=True)
class Figures:
    """The measures of one model in one way of counting, in [0, 1]."""

    pr_auc: Estimate
    roc_auc: Estimate
    max_f1: Estimate


@dataclass(frozen=True)
class Population:
    """Truth of a routed set. Pairs are (video, issue asked), videos in order, each video's issues in order.

    Attributes:
        guilty: [n] whether a video violates any issue: the paper's overall label.
        weight: [n] share of traffic.
        strata: [n] kind of each video; the bootstrap draws within them.
        video: [m] video of each pair.
        pair_guilty: [m] whether the video violates the issue of the pair.
        first: [n] index of the first pair of each video.
    """

    guilty: npt.NDArray[np.bool_]
    weight: Floats
    strata: npt.NDArray[np.int_]
    video: Indices
    pair_guilty: npt.NDArray[np.bool_]
    first: Indices

    @classmethod
    def of(cls, routed: Routed) -> Self:
        """The truth about a routed set."""
        counts = np.array([len(asked) for asked in routed.asked], dtype=np.intp)
        kinds = sorted({video.kind for video in routed.videos})
        pairs = [i in video.truth for video, own in zip(routed.videos, routed.asked, strict=True) for i in own]
        return cls(
            guilty=np.array([bool(video.truth) for video in routed.videos]),
            weight=routed.weight,
            strata=np.array([kinds.index(video.kind) for video in routed.videos]),
            video=np.repeat(np.arange(len(counts)), counts),
            pair_guilty=np.array(pairs, dtype=bool),
            first=np.cumsum(counts) - counts,
        )

    def by_video(self, pair_scores: Floats) -> Floats:
        """[n] the highest score of a video's pairs."""
        highest: Floats = np.maximum.reduceat(pair_scores, self.first)
        return highest

    def pairs_of(self, videos: Indices) -> Indices:
        """Indices of the pairs of the given videos, which may repeat."""
        counts = np.diff(np.append(self.first, len(self.video)))[videos]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found: Indices = np.repeat(self.first[videos], counts) + within
        return found

    def videos(self, pair_scores: Floats, *, rounds: int = ROUNDS) -> Figures:
        """The measures over videos: highest score against the overall label."""
        score = self.by_video(pair_scores)
        return self._figures(lambda m, i: m(score[i], self.guilty[i], self.weight[i]), rounds)

    def pairs(self, pair_scores: Floats, *, rounds: int = ROUNDS) -> Figures:
        """The measures over pairs; whole videos are drawn, since pairs of one video depend on each other."""
        weight = self.weight[self.video]

        def measured(measure: Measure, videos: Indices) -> float:
            i = self.pairs_of(videos)
            return measure(pair_scores[i], self.pair_guilty[i], weight[i])

        return self._figures(measured, rounds)

    def gain(self, ours: Floats, theirs: Floats, *, rounds: int = ROUNDS) -> Estimate:
        """Relative gain in Max-F1 over videos, (ours - theirs) / theirs, on the same redrawn videos."""
        a, b = self.by_video(ours), self.by_video(theirs)

        def relative(i: Indices) -> float:
            base = max_f1(b[i], self.guilty[i], self.weight[i])
            return max_f1(a[i], self.guilty[i], self.weight[i]) / base - 1.0

        return bootstrap(relative, self.strata, rounds=rounds)

    def _figures(self, measured: Callable[[Measure, Indices], float], rounds: int) -> Figures:
        # The same seed draws the same videos for every measure and model.
        return Figures(*(bootstrap(partial(measured, each), self.strata, rounds=rounds) for each in MEASURES))
