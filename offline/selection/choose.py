"""Ways to choose seeds from the vectors of known violations of one issue. Pure."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from offline.selection.clusters import clusters_of, nearest_to_centroids

Floats32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
Method = Literal["centroid-proximity", "random", "farthest-first", "all"]
METHODS: tuple[Method, ...] = get_args(Method)


def choose(method: Method, vectors: Floats32, count: int, *, seed: int = 0) -> Places:
    """Places of the chosen segments, different from each other; all of them where there are no more than `count`.

    Args:
        method: one of METHODS.
        vectors: [n, d] unit vectors, one for each segment.
        count: how many, at least 1; `all` does not ask for it.
        seed: of the clustering and of the random choice.

    Raises:
        ValueError: there is nothing to choose from, or nothing is asked for.
    """
    if not len(vectors) or count < 1:
        raise ValueError("seeds are chosen from at least one segment, and at least one is asked for")
    if method == "all" or count >= len(vectors):
        return np.arange(len(vectors))
    if method == "random":
        return np.sort(np.random.default_rng(seed).choice(len(vectors), size=count, replace=False))
    if method == "farthest-first":
        return farthest_first(vectors, count)
    return nearest_to_centroids(vectors, clusters_of(vectors, count, seed=seed))


def farthest_first(vectors: Floats32, count: int) -> Places:
    """The segment nearest to the mean, then again and again the one whose nearest chosen segment is farthest away.

    Gonzalez' 2-approximation of the k-centre problem: no segment lies more than twice as far from a seed as it must.

    Args:
        vectors: [n, d] unit vectors.
        count: in [1, n].
    """
    chosen = [int(np.argmax(vectors @ vectors.mean(axis=0)))]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < count:
        nearest[chosen] = np.inf  # or a copy of a seed would be chosen again
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return np.array(chosen, dtype=np.intp)


def distinct(vectors: Floats32, copies: Sequence[object], *, threshold: float) -> Places:
    """Places of the segments that no earlier one makes superfluous, increasing.

    Args:
        vectors: [n, d] unit vectors.
        copies: of each segment what makes it the same as another one, e.g. the hash of its bytes with its times.
        threshold: the cosine above which two segments are near-duplicates; 1 or more: only copies are.
    """
    kept: list[int] = []
    seen: set[object] = set()
    for place, copy in enumerate(copies):
        near = threshold < 1.0 and bool(kept) and float((vectors[kept] @ vectors[place]).max()) > threshold
        if copy not in seen and not near:
            kept.append(place)
            seen.add(copy)
    return np.array(kept, dtype=np.intp)
