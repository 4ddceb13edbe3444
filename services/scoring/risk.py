"""From the matches of a video's frames to the risk of one issue."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.contracts import SeedKind
from services.scoring.background import Background


@dataclass(frozen=True, slots=True)
class Match:
    """A seed that resembles a frame.

    Attributes:
        frame: index of the frame in the video's sampled frames.
        seed_id: the seed.
        kind: kind of the seed.
        similarity: cosine, in [-1, 1].
    """

    frame: int
    seed_id: str
    kind: SeedKind
    similarity: float


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk of one issue, in [0, 1], and the matches that explain it, most similar first, one for each seed."""

    value: float
    matches: tuple[Match, ...]


def risk_of(
    positives: Sequence[Match],
    negatives: Sequence[Match],
    background: Background,
    *,
    negative_weight: float,
    negative_margin: float,
    max_matches: int = 5,
) -> Risk:
    """max over frames of (best positive level - weight * max(0, best negative level - margin)), cut to [0, 1].

    The maximum over frames keeps a violation that shows in one frame; a look-alike speaks against its own frame alone.

    Args:
        positives: matches with the issue's seeds, of any frames, in any order.
        negatives: matches with its known look-alikes.
        background: gives the level of a similarity.
        negative_weight: lambda, at least 0.
        negative_margin: level that a look-alike must exceed to count, in [0, 1].
        max_matches: how many matches are kept as explanation; the one that set the risk is always among them.
    """
    if not positives:
        return Risk(0.0, ())
    scores = _levels(positives, background)
    if negatives:
        against: dict[int, float] = {}
        for match, level in zip(negatives, _levels(negatives, background), strict=True):
            against[match.frame] = max(level, against.get(match.frame, 0.0))
        speaking = np.array([against.get(match.frame, 0.0) for match in positives])
        scores = scores - negative_weight * np.maximum(0.0, speaking - negative_margin)
    # Ties fall to the more similar match, then to the earlier frame.
    frames = np.array([match.frame for match in positives])
    similarities = np.array([match.similarity for match in positives])
    order = np.lexsort((frames, -similarities, -scores))
    best: dict[str, Match] = {}
    for index in order.tolist():
        best.setdefault(positives[index].seed_id, positives[index])
        if len(best) == max_matches:
            break
    kept = sorted(best.values(), key=lambda match: (-match.similarity, match.frame, match.seed_id))
    return Risk(min(1.0, max(0.0, float(scores[order[0]]))), tuple(kept))


def _levels(matches: Sequence[Match], background: Background) -> npt.NDArray[np.float64]:
    """The level of each match, in their order."""
    similarities = np.array([match.similarity for match in matches])
    levels = np.empty(len(matches))
    kinds = [match.kind for match in matches]
    for kind in set(kinds):
        chosen = [each == kind for each in kinds]
        levels[chosen] = background.levels(kind, similarities[chosen])
    return levels
