"""What the choice and the number of seeds are worth: ways to choose, at several numbers of seeds an issue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from offline.demo_world.splits import Counts
from offline.selection.banks import IDS, Floats, Floats32, Traffic, fit, recalls, risks
from offline.selection.choose import Method, choose, distinct
from offline.selection.clusters import number_of_clusters, silhouette_number
from offline.selection.select import MOST, NEAR_DUPLICATE
from offline.selection.world import SeedPool, Space, World
from offline.statistics import Estimate
from services.contracts import SeedKind

BY_DATA, BY_SILHOUETTE = "centroid-proximity, number by held-out cosine", "centroid-proximity, number by silhouette"

_MOST_BY_SILHOUETTE = 64


@dataclass(frozen=True)
class Found:
    """What one way to choose finds at one size.

    Attributes:
        method: how the seeds were chosen.
        asked: seeds of an issue that were asked for; None: the number came from the data, or is all of the pool.
        seeds: seeds of each issue that there were.
        recall: at each of PASS_RATES; the mean of the draws.
        over_random: by how much that is more than of as many random seeds, paired; absent where none were drawn.
        draws: recall at each of PASS_RATES of each draw, where the choice is random.
        nearest: mean cosine of the pool's segments with their nearest seed.
    """

    method: str
    asked: int | None
    seeds: Mapping[str, int]
    recall: tuple[Estimate, ...]
    over_random: tuple[Estimate, ...]
    draws: tuple[tuple[float, ...], ...]
    nearest: float


@dataclass(frozen=True)
class InSpace:
    """All ways at all sizes, by the vectors of one space.

    Attributes:
        space: which vectors.
        distinct: segments of each issue that are left without near-duplicates.
        found: one for each way and size.
    """

    space: Space
    distinct: Mapping[str, int]
    found: tuple[Found, ...]


@dataclass(frozen=True)
class SeedComparison:
    """The whole report.

    Attributes:
        encoder: fingerprint.
        pool: segments of each issue to choose from.
        near_duplicate: cosine above which centroid-proximity drops one of two segments.
        counts: videos of each kind of the split `test`.
        spaces: as served; and of a model with a head also without it.
    """

    encoder: str
    pool: Mapping[str, int]
    near_duplicate: float
    counts: Counts
    spaces: tuple[InSpace, ...]


def compare_seeds(
    world: World, console: Console, *, sizes: Sequence[int], counts: Counts, draws: int, rounds: int
) -> SeedComparison:
    """Choose, fit the background of each bank on clean calibration videos, and measure on the split `test`.

    Args:
        world: the splits.
        console: for progress.
        sizes: seeds of an issue; the largest one is the size of the pool.
        counts: videos of the split `test`.
        draws: of the random choice.
        rounds: of the bootstrap.
    """
    pool = world.bank(max(sizes))
    spaces: tuple[Space, ...] = ("served", "caption") if world.viewer.tags else ("served",)
    return SeedComparison(
        world.viewer.fingerprint, {issue: len(pool.of(issue)) for issue in IDS}, NEAR_DUPLICATE, counts,
        tuple(_in_space(world, console, space, sizes, counts, draws, rounds) for space in spaces),
    )  # fmt: skip


def _in_space(
    world: World, console: Console, space: Space, sizes: Sequence[int], counts: Counts, draws: int, rounds: int
) -> InSpace:
    pool = world.bank(max(sizes), space=space)
    clean = world.clean(space=space).frames
    traffic = world.traffic(world.rows("test", counts), "embedding test", space=space)
    kept = {issue: _distinct(pool, issue) for issue in IDS}
    found = []
    drawn_at: dict[int | None, list[Floats]] = {}
    for method, asked, drawn in track(
        _plans(pool, kept, sizes, draws), description=f"measuring, {space}", console=console
    ):
        risk = [_risk(pool.bank(chosen), traffic, clean, world.viewer.fingerprint) for chosen in drawn]
        chance = drawn_at.setdefault(asked, risk) if method == "random" else drawn_at.get(asked)
        found.append(
            Found(
                method, asked, {issue: len(drawn[0][issue]) for issue in IDS}, recalls(risk, traffic, rounds=rounds),
                recalls(risk, traffic, rounds=rounds, less=chance) if chance and chance is not risk else (),
                tuple(tuple(each.value for each in recalls([own], traffic, rounds=0)) for own in risk if len(risk) > 1),
                float(np.mean([_nearest(pool, chosen) for chosen in drawn])),
            )
        )  # fmt: skip
    return InSpace(space, {issue: len(places) for issue, places in kept.items()}, tuple(found))


_Places = Mapping[str, np.ndarray]


def _plans(
    pool: SeedPool, kept: _Places, sizes: Sequence[int], draws: int
) -> list[tuple[str, int | None, list[_Places]]]:
    """Every row of the report: name, size, and the places of the seeds of each draw."""
    everything = {issue: pool.of(issue) for issue in IDS}

    def chosen(method: Method, of: _Places, count: Mapping[str, int], seed: int = 0) -> _Places:
        return {
            issue: places[choose(method, pool.means[places], count[issue], seed=seed)] for issue, places in of.items()
        }

    plans: list[tuple[str, int | None, list[_Places]]] = []
    for size in sizes:
        same = dict.fromkeys(IDS, size)
        plans += [
            ("random", size, [chosen("random", everything, same, seed) for seed in range(draws)]),
            ("centroid-proximity", size, [chosen("centroid-proximity", kept, same)]),
            ("farthest-first", size, [chosen("farthest-first", everything, same)]),
        ]
    numbers = {i: number_of_clusters(pool.means[places], MOST, seed=0).count for i, places in kept.items()}
    silhouettes = {i: silhouette_number(pool.means[places], _MOST_BY_SILHOUETTE, seed=0) for i, places in kept.items()}
    return [
        *plans,
        (BY_DATA, None, [chosen("centroid-proximity", kept, numbers)]),
        (BY_SILHOUETTE, None, [chosen("centroid-proximity", kept, silhouettes)]),
        ("all", None, [everything]),
    ]


def _distinct(pool: SeedPool, issue: str) -> np.ndarray:
    own = pool.of(issue)
    return own[distinct(pool.means[own], own.tolist(), threshold=NEAR_DUPLICATE)]


def _nearest(pool: SeedPool, chosen: _Places) -> float:
    return float(
        np.mean([(pool.means[pool.of(issue)] @ pool.means[own].T).max(axis=1).mean() for issue, own in chosen.items()])
    )


def _risk(bank: Mapping[str, Floats32], traffic: Traffic, clean: Floats32, encoder: str) -> Floats:
    kinds: dict[SeedKind, Mapping[str, Floats32]] = {"golden": bank}
    return risks(kinds, traffic, fit(kinds, clean, encoder))
