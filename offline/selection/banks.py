"""What a bank of seeds finds: risks by the served rule, and recall at a pass rate on weighed traffic."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.demo_world.splits import KINDS, MIX
from offline.demo_world.taxonomy import ISSUES
from offline.manifest import Labelled, traffic_weights
from offline.router.compare import PASS_RATES
from offline.router.recipes import own_score
from offline.router.views import Views
from offline.statistics import Estimate, bootstrap, recall_at_pass_rate
from services.contracts import SeedKind
from services.scoring import Background, Match, risk_of

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
IDS = tuple(issue.id for issue in ISSUES)
WEIGHT, MARGIN = 0.5, 0.75
"""The router's defaults: what a look-alike takes off, and the level that it must exceed."""
NOTHING = -1.0
"""Similarity where an issue has no seeds of a kind: below every background."""


@dataclass(frozen=True)
class Traffic:
    """Labelled videos and what the encoder sees in them.

    Attributes:
        rows: n videos, of every kind.
        frames: [f, d] unit vectors of all their frames, a video's together.
        owner: [f], the video of each frame, rising.
    """

    rows: Sequence[Labelled]
    frames: Floats32
    owner: npt.NDArray[np.intp]

    @property
    def weight(self) -> Floats:
        """[n], share of traffic by the demo world's mix."""
        return np.array(traffic_weights(self.rows, {str(kind): share for kind, share in MIX.items()}))

    @property
    def strata(self) -> npt.NDArray[np.int_]:
        """[n], the kind of each video, by number."""
        kinds: list[str] = [*KINDS]
        return np.array([kinds.index(row.kind) for row in self.rows])

    @property
    def positive(self) -> npt.NDArray[np.bool_]:
        """[n], whether it violates anything."""
        return np.array([bool(row.truth) for row in self.rows])

    def own(self, risk: Floats) -> Floats:
        """[n], the highest risk of a video for an issue that it violates."""
        return own_score(risk, [row.truth for row in self.rows], IDS)


def vectors_of(views: Views) -> Floats32:
    """What the router searches with: the head's vectors, or those of a model without one."""
    return views.head if views.head.size else views.pooled


def similarities(frames: Floats32, seeds: Mapping[str, Floats32]) -> Floats:
    """[f, issues]: of each frame the cosine with the nearest seed vector of every issue, in the order of IDS.

    Args:
        frames: [f, d] unit vectors.
        seeds: of each issue [s, d] unit vectors; an issue may be missing.
    """
    found = np.full((len(frames), len(IDS)), NOTHING)
    for number, issue in enumerate(IDS):
        if issue in seeds and len(seeds[issue]):
            found[:, number] = (frames @ seeds[issue].T).max(axis=1)
    return found


def fit(kinds: Mapping[SeedKind, Mapping[str, Floats32]], clean: Floats32, encoder: str) -> Background:
    """The background of a bank: on frames of clean traffic, for each kind, as `winnow lab fit-router` fits it.

    Args:
        kinds: seed vectors by issue, of each kind.
        clean: [f, d] frames of clean videos, look-alikes and others in the proportions of traffic.
        encoder: fingerprint.
    """
    sample: dict[SeedKind, Floats] = {}
    for kind, seeds in kinds.items():
        found = similarities(clean, seeds)
        sample[kind] = found[:, [issue in seeds for issue in IDS]]
    return Background.fit(sample, encoder=encoder)


def risks(
    kinds: Mapping[SeedKind, Mapping[str, Floats32]], traffic: Traffic, background: Background, *,
    weight: float = WEIGHT, margin: float = MARGIN,
) -> Floats:  # fmt: skip
    """Risk of every video and issue, [n, issues], by the rule that the router serves (`services.scoring.risk_of`).

    Args:
        kinds: seed vectors by issue, of each kind.
        traffic: the videos.
        background: of the bank.
        weight: what a look-alike takes off.
        margin: level that a look-alike must exceed.
    """
    found = {kind: similarities(traffic.frames, seeds) for kind, seeds in kinds.items()}
    against = found.pop("negative", None)
    edges = np.searchsorted(traffic.owner, np.arange(len(traffic.rows) + 1))
    risk = np.zeros((len(traffic.rows), len(IDS)))
    for video in range(len(traffic.rows)):
        span = range(edges[video], edges[video + 1])
        for issue in range(len(IDS)):
            positives = [Match(i, kind, kind, float(own[i, issue])) for kind, own in found.items() for i in span]
            negatives = (
                [Match(i, "", "negative", float(against[i, issue])) for i in span] if against is not None else []
            )
            risk[video, issue] = risk_of(
                positives, negatives, background, negative_weight=weight, negative_margin=margin, max_matches=1
            ).value
    return risk


def recalls(
    drawn: Sequence[Floats], traffic: Traffic, *, rounds: int, less: Sequence[Floats] = ()
) -> tuple[Estimate, ...]:
    """Recall at each of PASS_RATES: the mean over several draws of a bank, videos resampled within their kinds.

    A violation is found where the video passes for an issue that it violates.

    Args:
        drawn: risks [n, issues] of each draw; one where nothing is drawn.
        traffic: the videos.
        rounds: of the bootstrap.
        less: draws of another bank, whose recall is taken off: the paired difference.
    """
    weight, positive = traffic.weight, traffic.positive

    def at(rate: float, i: npt.NDArray[np.intp], banks: Sequence[tuple[Floats, Floats]]) -> float:
        found = [recall_at_pass_rate(score[i], own[i], positive[i], weight[i], rate) for score, own in banks]
        return float(np.mean(found)) if found else 0.0

    ours, theirs = ([(risk.max(axis=1), traffic.own(risk)) for risk in risks] for risks in (drawn, less))

    def measure(rate: float) -> Callable[[npt.NDArray[np.intp]], float]:
        return lambda i: at(rate, i, ours) - at(rate, i, theirs)

    return tuple(bootstrap(measure(rate), traffic.strata, rounds=rounds) for rate in PASS_RATES)
