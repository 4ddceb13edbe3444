"""What both stages say of a labelled sample of traffic, and what thresholds make of it. Pure."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from offline.statistics import Bools, Floats

Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Judged:
    """A sample of traffic; m issues, n videos.

    Attributes:
        issues: ids, [m].
        risk: the router's, [n, m] in [0, 1].
        probability: the ranker's, [n, m] in [0, 1]; asked about every video.
        truth: whether the video violates the issue, [n, m].
        weight: how much of traffic each video stands for, [n].
        kind: stratum of each video, [n]: each is a random sample of its part of traffic.
        asks: [m, m], whether the ranker is asked about the second issue where the first escalates; by default about
            itself alone.
    """

    issues: tuple[str, ...]
    risk: Floats
    probability: Floats
    truth: Bools
    weight: Floats
    kind: npt.NDArray[np.str_]
    asks: Bools | None = None

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def violating(self) -> Bools:
        """Whether the video violates any issue, [n]."""
        return np.asarray(self.truth.any(axis=1), dtype=bool)

    def at(self, index: Index) -> "Judged":
        """Those videos."""
        return replace(
            self,
            risk=self.risk[index],
            probability=self.probability[index],
            truth=self.truth[index],
            weight=self.weight[index],
            kind=self.kind[index],
        )


@dataclass(frozen=True)
class Thresholds:
    """From where on an issue escalates, is reviewed, and is blocked; [m] each. Without `block` nothing is blocked."""

    router: Floats
    review: Floats
    block: Floats | None = None

    def escalated(self, judged: Judged) -> Bools:
        """Whether the router sends a video on for an issue, [n, m]."""
        return np.asarray(judged.risk >= self.router, dtype=bool)

    def passed(self, judged: Judged) -> Bools:
        """Whether a video goes to the ranker, [n]."""
        return np.asarray(self.escalated(judged).any(axis=1), dtype=bool)

    def found(self, judged: Judged) -> Bools:
        """Whether an issue is reviewed or blocked, [n, m]: the ranker was asked about it, and its probability is high
        enough."""
        return self._asked(judged) & (judged.probability >= self.review)

    def blocked(self, judged: Judged) -> Bools:
        """Whether a video is blocked, [n]."""
        if self.block is None:
            return np.zeros(len(judged), dtype=bool)
        return np.asarray((self._asked(judged) & (judged.probability >= self.block)).any(axis=1), dtype=bool)

    def _asked(self, judged: Judged) -> Bools:
        escalated = self.escalated(judged)
        if judged.asks is None:
            return escalated
        return np.asarray((escalated.astype(np.intp) @ judged.asks.astype(np.intp)) > 0, dtype=bool)
