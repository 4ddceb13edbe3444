"""Clusters of the known violations of one issue, their real centres, and how many there are."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]
STARTS = 4
"""Of a clustering that seeds are taken from; the best one is kept."""
FOLDS = 3
"""Parts of the pool, each held out once."""
GAIN = 0.8
_STEP = 1.5


@dataclass(frozen=True)
class Sweep:
    """The numbers of clusters that were tried.

    Attributes:
        count: the chosen one.
        scores: of each number, the mean cosine of held-out segments with the nearest seed that would be chosen.
    """

    count: int
    scores: Mapping[int, float]


def clusters_of(vectors: Floats32, count: int, *, seed: int, starts: int = STARTS) -> npt.NDArray[np.int_]:
    """The k-means cluster of each vector, [n]; fewer clusters than asked for where fewer vectors differ.

    Args:
        vectors: [n, d] unit vectors.
        count: in [1, n].
        seed: of the starts.
        starts: how often it begins anew.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal vectors: what is there is all there can be
        found: npt.NDArray[np.int_] = KMeans(count, n_init=starts, random_state=seed).fit_predict(vectors)
    return found


def nearest_to_centroids(vectors: Floats32, cluster: npt.NDArray[np.int_]) -> npt.NDArray[np.intp]:
    """Of each cluster the segment nearest to its centroid, [clusters], the largest cluster first.

    Filter-And-Refine, section 3.1, names Centroid-Proximity Seed Selection and leaves the rest open. A centroid shows
    nothing that an operator could look at; the segment nearest to it does.

    Args:
        vectors: [n, d] unit vectors.
        cluster: [n], the cluster of each.
    """
    names, sizes = np.unique(cluster, return_counts=True)
    chosen = []
    for name in names[np.argsort(-sizes, kind="stable")]:
        own = np.flatnonzero(cluster == name)
        centroid = vectors[own].mean(axis=0)
        chosen.append(own[np.argmin(np.linalg.norm(vectors[own] - centroid, axis=1))])
    return np.array(chosen, dtype=np.intp)


def number_of_clusters(vectors: Floats32, most: int, *, seed: int) -> Sweep:
    """The smallest number of seeds with most of what more seeds can give: GAIN of the way from one to the best number.

    Segments are held out in turn; seeds are chosen from the others, and the cosine of each held-out segment with its
    nearest seed is measured. The silhouette, the usual criterion, asks how well clusters are separated: an issue is one
    dense cloud with stragglers, of which it always makes two (docs/results/selection.md).

    Args:
        vectors: [n, d] unit vectors, n at least 1.
        most: the largest number that is tried.
        seed: of the folds and the clusterings.
    """
    if len(vectors) < FOLDS:
        return Sweep(min(most, len(vectors)), {})
    folds = np.array_split(np.random.default_rng(seed).permutation(len(vectors)), FOLDS)
    numbers = _numbers(min(most, len(vectors) - len(folds[0])))
    scores = {k: float(np.mean(np.concatenate([_held_out(vectors, fold, k, seed) for fold in folds]))) for k in numbers}
    enough = scores[1] + GAIN * (max(scores.values()) - scores[1])
    return Sweep(next(count for count in numbers if scores[count] >= enough), scores)


def silhouette_number(vectors: Floats32, most: int, *, seed: int) -> int:
    """The number of clusters, at least 2, with the highest mean silhouette; for comparison.

    Where there are no three different vectors, it is how many there are: nothing could be separated.

    Args:
        vectors: [n, d] unit vectors, n at least 1.
        most: the largest number that is tried.
        seed: of the clusterings.
    """
    from sklearn.metrics import silhouette_score

    different = len(np.unique(vectors, axis=0))
    scores: dict[int, float] = {}
    for count in _numbers(min(most, len(vectors) - 1))[1:]:
        cluster = clusters_of(vectors, count, seed=seed, starts=1)
        if len(np.unique(cluster)) > 1:  # a silhouette is of two clusters or more
            scores[count] = float(silhouette_score(vectors, cluster))
    return max(scores, key=lambda count: (scores[count], -count), default=min(2, most, different))


def _held_out(vectors: Floats32, fold: npt.NDArray[np.intp], count: int, seed: int) -> npt.NDArray[np.float32]:
    """The cosine of each segment of the fold with the nearest of `count` seeds chosen from the other folds."""
    rest = vectors[np.setdiff1d(np.arange(len(vectors)), fold)]
    seeds = rest[nearest_to_centroids(rest, clusters_of(rest, count, seed=seed, starts=1))]
    found: npt.NDArray[np.float32] = (vectors[fold] @ seeds.T).max(axis=1)
    return found


def _numbers(most: int) -> list[int]:
    """1, 2, 3, 4, then each half as large again as the one before, up to `most`, which is one of them."""
    numbers, each = [], 1.0
    while round(each) < most:
        numbers.append(round(each))
        each = max(each * _STEP, each + 1)
    return [*numbers, most]
