"""From the matches of a video's frames to the risk of one issue."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    against: dict[int, float] = {}
    for match in negatives:
        level = background.level(match.kind, match.similarity)
        against[match.frame] = max(level, against.get(match.frame, 0.0))
    scored = [
        (
            background.level(match.kind, match.similarity)
            - negative_weight * max(0.0, against.get(match.frame, 0.0) - negative_margin),
            match,
        )
        for match in positives
    ]
    # Ties fall to the more similar match, then to the earlier frame.
    scored.sort(key=lambda entry: (-entry[0], -entry[1].similarity, entry[1].frame))
    if not scored:
        return Risk(0.0, ())
    best: dict[str, Match] = {}
    for _, match in scored:
        best.setdefault(match.seed_id, match)
    kept = sorted(list(best.values())[:max_matches], key=lambda match: (-match.similarity, match.frame, match.seed_id))
    return Risk(min(1.0, max(0.0, scored[0][0])), tuple(kept))
