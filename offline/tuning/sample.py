"""Divides stratified samples: into halves that are alike, and into samples in the proportions of traffic. Pure."""

import numpy as np
import numpy.typing as npt

from offline.statistics import Floats
from offline.tuning.judged import Index, Judged

MOST_STRATA = 50
"""Different pairs of kind and weight among the videos; weights of single videos would make strata of one."""


def halves(judged: Judged, first_share: float, seed: int) -> tuple[Index, Index]:
    """Indices of two parts that hold every stratum and issue alike; the first gets this share of each."""
    rng = np.random.default_rng(seed)
    issue = np.where(judged.violating, judged.truth.argmax(axis=1), -1)
    groups = np.char.add(np.char.add(judged.kind, "/"), issue.astype(str))
    side = np.empty(len(judged), dtype=bool)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        # Rounded at random: a group of one is not always on the same side.
        side[members] = np.arange(len(members)) < int(len(members) * first_share + rng.random())
    return np.flatnonzero(side), np.flatnonzero(~side)


def in_proportion(kind: npt.NDArray[np.str_], weight: Floats, rng: np.random.Generator) -> Index:
    """Indices of as large a sample as can be had in which each stratum has the share of its weight.

    The remainders of rounding are drawn at random in proportion to themselves. So the number of hits in the sample is
    a sum of independent Bernoulli variables whose mean rate is exactly that of traffic, and a binomial test of that
    rate is valid: the lower tail of such a sum is no heavier than the binomial one (Hoeffding 1956, theorem 4).

    Args:
        kind: stratum of each video, [n]; videos of one kind and different weights are different strata.
        weight: of each video, [n].
        rng: chooses.

    Raises:
        ValueError: there are more than MOST_STRATA strata.
    """
    # Weights that differ in the last digits alone are the same weight.
    rounded = np.char.mod("%.6e", weight)
    strata, at = np.unique(np.char.add(np.char.add(kind, "/"), rounded), return_inverse=True)
    if len(strata) > MOST_STRATA:
        raise ValueError(
            f"a promise needs videos that were drawn from a few strata, each with one weight; there are {len(strata)} "
            f"different pairs of kind and weight, {MOST_STRATA} are allowed"
        )
    have = np.bincount(at)
    share = np.bincount(at, weight) / weight.sum()
    size = int((have / share).min())
    while size and not _fits(have, share, size):
        size -= 1
    exact = size * share
    # A whole number that floating point has put just below itself stays whole.
    whole = np.floor(exact + 1e-9).astype(int)
    rest = np.maximum(exact - whole, 0.0)
    left = size - int(whole.sum())
    if left:
        whole += rng.multinomial(left, rest / rest.sum())
    members = (rng.permutation(np.flatnonzero(at == number)) for number in range(len(strata)))
    return np.concatenate([own[:count] for own, count in zip(members, whole, strict=True)])


def _fits(have: npt.NDArray[np.intp], share: Floats, size: int) -> bool:
    """Whether all remainders may fall to any one stratum."""
    whole = np.floor(size * share + 1e-9)
    return bool((whole + (size - whole.sum()) <= have).all())
