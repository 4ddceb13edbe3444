"""What negative seeds are worth: the pass rate at equal recall, with and without known look-alikes in the bank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.fit import look_alike_seeds
from offline.router.views import Clip
from offline.selection.banks import IDS, MARGIN, WEIGHT, Floats, Floats32, Traffic, fit, recalls, risks, vectors_of
from offline.selection.world import Calibration, World
from offline.statistics import Estimate, bootstrap
from services.contracts import SeedKind

RECALLS = (0.9, 0.95, 0.98)
CHOSEN_AT = 1
"""Place, in RECALLS, of the recall at which weight and margin are chosen."""
WEIGHTS, MARGINS = (0.25, 0.5, 1.0, 2.0), (0.25, 0.5, 0.75, 0.9)

Kinds = Mapping[SeedKind, Mapping[str, Floats32]]


@dataclass(frozen=True)
class Rule:
    """What a bank is searched with: which negatives, their weight and margin."""

    negatives: str
    weight: float
    margin: float


@dataclass(frozen=True)
class Passed:
    """What a rule passes.

    Attributes:
        rule: the rule; None without negatives.
        pass_rate: share of traffic that passes at each of RECALLS.
        less: by how much that is less than without negatives, paired; absent for the bank without them.
        recall: at each of PASS_RATES.
    """

    rule: Rule | None
    pass_rate: tuple[Estimate, ...]
    less: tuple[Estimate, ...]
    recall: tuple[Estimate, ...]


@dataclass(frozen=True)
class Negatives:
    """The part of the report on negatives.

    Attributes:
        seeds: negatives of each issue, in each set.
        rows: without, with the router's defaults, and with what the calibration split says is best.
        grid: pass rate on the split `test` at the middle recall for every rule; shown, not chosen by.
    """

    seeds: Mapping[str, Mapping[str, int]]
    rows: tuple[Passed, ...]
    grid: tuple[tuple[Rule, float], ...]


def negatives(
    world: World, known: Calibration, traffic: Traffic, golden: Mapping[str, Floats32], *, count: int, rounds: int
) -> Negatives:
    """Measure on `traffic`.

    Args:
        world: the splits.
        known: the calibration split: negatives, backgrounds, and videos to choose weight and margin on.
        traffic: the split `test`.
        golden: seed vectors of every issue.
        count: negatives of an issue in the small set: those that resemble the golden seeds most.
        rounds: of the bootstrap.
    """
    encoder, clean, tuning = world.viewer.fingerprint, known.clean, known.tuning
    parts = look_alike_seeds(known.look_alikes)
    views = world.look([Clip(s.path, s.start_s, s.end_s, world.seed_frames) for s in parts], "embedding look-alikes")
    sets = candidates(vectors_of(views), views.owner, [part.issue for part in parts], golden, count)
    rules = [Rule(name, weight, margin) for name in sets for weight in WEIGHTS for margin in MARGINS]

    def risk(rule: Rule | None, videos: Traffic) -> Floats:
        kinds: Kinds = {"golden": golden} if rule is None else {"golden": golden, "negative": sets[rule.negatives]}
        weight, margin = (rule.weight, rule.margin) if rule else (WEIGHT, MARGIN)
        return risks(kinds, videos, fit(kinds, clean, encoder), weight=weight, margin=margin)

    best = min(rules, key=lambda rule: _at(tuning, risk(rule, tuning), RECALLS[CHOSEN_AT]))
    base = risk(None, traffic)
    shown = [None, *(Rule(name, WEIGHT, MARGIN) for name in sets), best]
    return Negatives(
        {name: {issue: len(own) // world.seed_frames for issue, own in bank.items()} for name, bank in sets.items()},
        tuple(_passed(rule, risk(rule, traffic), base, traffic, rounds) for rule in shown),
        tuple((rule, _at(traffic, risk(rule, traffic), RECALLS[CHOSEN_AT])) for rule in rules),
    )


def candidates(
    frames: Floats32, owner: npt.NDArray[np.intp], issues: Sequence[str], golden: Mapping[str, Floats32], count: int
) -> dict[str, dict[str, Floats32]]:
    """Sets of negatives by name: the nearest to the golden seeds of their issue, and all.

    Args:
        frames: [f, d] unit vectors of the look-alikes' frames.
        owner: [f], the look-alike of each.
        issues: [n], what each resembles.
        golden: seed vectors of every issue.
        count: of an issue, in the first set.
    """
    nearest: dict[str, Floats32] = {}
    everything: dict[str, Floats32] = {}
    for issue in IDS:
        own = [place for place, name in enumerate(issues) if name == issue]
        if not own:
            continue
        alike = [float((frames[owner == place] @ golden[issue].T).max()) for place in own]
        hardest = [own[place] for place in np.argsort(-np.array(alike), kind="stable")[:count]]
        nearest[issue], everything[issue] = frames[np.isin(owner, hardest)], frames[np.isin(owner, own)]
    return {f"{count} nearest": nearest, "all": everything}


def pass_rate_at_recall(
    score: Floats, own: Floats, positive: npt.NDArray[np.bool_], weight: Floats, recall: float
) -> float:
    """Share of the weight that passes at the highest threshold at which so much of the positives' weight is found.

    Args:
        score: [n], what decides whether a video passes.
        own: [n], for an issue that it violates.
        positive: [n], whether it violates any.
        weight: [n], share of traffic.
        recall: in (0, 1].
    """
    threshold = threshold_at_recall(own, positive, weight, recall)
    return float(weight[score >= threshold].sum() / weight.sum())


def threshold_at_recall(own: Floats, positive: npt.NDArray[np.bool_], weight: Floats, recall: float) -> float:
    """The highest threshold at which so much of the positives' weight is found; arguments as above."""
    order = np.argsort(-own[positive], kind="stable")
    found = np.cumsum(weight[positive][order]) / weight[positive].sum()
    return float(own[positive][order][np.searchsorted(found, recall - 1e-12)])


def _at(traffic: Traffic, risk: Floats, recall: float) -> float:
    return pass_rate_at_recall(risk.max(axis=1), traffic.own(risk), traffic.positive, traffic.weight, recall)


def _passed(rule: Rule | None, risk: Floats, base: Floats, traffic: Traffic, rounds: int) -> Passed:
    positive, weight = traffic.positive, traffic.weight
    pairs = [(each.max(axis=1), traffic.own(each)) for each in (risk, base)]

    def rate(place: int, recall: float, i: npt.NDArray[np.intp]) -> float:
        score, own = pairs[place]
        return pass_rate_at_recall(score[i], own[i], positive[i], weight[i], recall)

    return Passed(
        rule,
        tuple(bootstrap(lambda i, r=r: rate(0, r, i), traffic.strata, rounds=rounds) for r in RECALLS),  # type: ignore[misc]
        tuple(
            bootstrap(lambda i, r=r: rate(1, r, i) - rate(0, r, i), traffic.strata, rounds=rounds)  # type: ignore[misc]
            for r in (RECALLS if rule else ())
        ),
        recalls([risk], traffic, rounds=rounds),
    )
