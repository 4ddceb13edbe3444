"""What a similarity is worth: its rank among those of background traffic, one scale for each kind of seed."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self, get_args

import numpy as np
import numpy.typing as npt

from services.contracts import SeedKind

QUANTILES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.9999)
_LEVEL_DECADES = 4.0  # one background frame in 10^4 is level 1
_VERSION = 1

Knots = tuple[tuple[float, float], ...]


def level_of_quantile(quantile: float) -> float:
    """min(1, -log10(1 - q) / 4): 0.25 for one background frame in ten, 0.5 for one in a hundred. The scale is ours."""
    return 1.0 if quantile >= 1.0 else min(1.0, -math.log10(1.0 - quantile) / _LEVEL_DECADES)


@dataclass(frozen=True, slots=True)
class Background:
    """Similarity to level in [0, 1], piecewise linear for each kind of seed.

    Image-to-image, text-to-image and look-alike similarities lie in different ranges; their ranks do not.

    Attributes:
        encoder: fingerprint of the encoder whose similarities these are; empty for the identity.
        knots: of each kind, (similarity, level) pairs that rise in both; the last one is (1, 1).
    """

    encoder: str = ""
    knots: Mapping[SeedKind, Knots] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, knots in self.knots.items():
            if kind not in get_args(SeedKind):
                raise ValueError(f"{kind!r} is no kind of seed")
            if len(knots) < 2 or tuple(knots[-1]) != (1.0, 1.0):
                raise ValueError(f"the knots of {kind} must end at (1, 1)")
            rises = all(a[0] < b[0] and 0.0 <= a[1] <= b[1] for a, b in pairwise(knots))
            if not rises:
                raise ValueError(f"the knots of {kind} must rise")

    @classmethod
    def identity(cls) -> Self:
        """For an encoder that no background was fitted for: the level is the cosine, cut to [0, 1]."""
        return cls()

    @classmethod
    def fit(cls, similarities_by_kind: Mapping[SeedKind, npt.ArrayLike], *, encoder: str = "") -> Self:
        """Fits the knots.

        Args:
            similarities_by_kind: for each kind, similarities of background frames, of any shape: each is the best one
                of a frame among an issue's seeds of that kind, as the router sees it. Quantiles that the sample is too
                small for are left out.
            encoder: fingerprint of the encoder.

        Raises:
            ValueError: a kind without similarities.
        """
        return cls(encoder, {kind: _fit_one(kind, sample) for kind, sample in similarities_by_kind.items()})

    def level(self, kind: SeedKind, similarity: float) -> float:
        """Level in [0, 1] of a cosine in [-1, 1]; never falls when the similarity rises.

        A kind of positive image seeds that was not fitted borrows the scale of another one; text and negatives do not.
        """
        return float(self.levels(kind, np.array([similarity]))[0])

    def levels(self, kind: SeedKind, similarities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """`level` of each of n cosines of one kind, [n]; a call for one costs as much as for a hundred."""
        knots = self.knots.get(kind) or self._borrowed(kind)
        if knots is None:
            return np.clip(similarities, 0.0, 1.0)
        points = np.array(knots)
        found: npt.NDArray[np.float64] = np.interp(similarities, points[:, 0], points[:, 1], left=0.0)
        return found

    def save(self, path: Path) -> None:
        """Writes the background as JSON."""
        data = {"version": _VERSION, "encoder": self.encoder, "knots": self.knots}
        path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote. Raises ValueError for anything else."""
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("version") != _VERSION:
            raise ValueError(f"{path} is not a background of version {_VERSION}")
        knots = {kind: tuple((float(s), float(level)) for s, level in rows) for kind, rows in data["knots"].items()}
        return cls(str(data["encoder"]), knots)

    def _borrowed(self, kind: SeedKind) -> Knots | None:
        images: Sequence[SeedKind] = ("golden", "centroid", "feedback")
        if kind not in images:
            return None
        return next((self.knots[other] for other in images if other in self.knots), None)


def _fit_one(kind: SeedKind, sample: npt.ArrayLike) -> Knots:
    values = np.asarray(sample, dtype=np.float64).ravel()
    if not values.size:
        raise ValueError(f"no similarities for {kind}")
    knots: list[tuple[float, float]] = []
    for quantile in QUANTILES:
        if quantile > 0.5 and values.size * (1.0 - quantile) < 1.0:
            break
        knot = (float(np.quantile(values, quantile)), level_of_quantile(quantile))
        if knot[0] >= 1.0:
            break
        if knots and knot[0] <= knots[-1][0]:  # ties: the highest level of a similarity counts
            knots.pop()
        knots.append(knot)
    # Where every similarity is 1, whatever is less lies below all of them.
    return (*(knots or [(math.nextafter(1.0, 0.0), 0.0)]), (1.0, 1.0))
