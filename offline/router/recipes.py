"""Ways to score videos for issues from what an encoder sees in their frames. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Owners = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Roles:
    """Tags that an issue is made of: something of `a` with something of `b`."""

    a: tuple[str, ...]
    b: tuple[str, ...]


def pooled(vectors: Floats32, owner: Owners) -> Floats32:
    """One unit vector for each clip, [clips, d]: the mean over its frames, of unit vectors [frames, d]."""
    total = np.zeros((int(owner.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(total, owner, vectors)
    length: Floats32 = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(length, 1e-12)).astype(np.float32)


def search(vectors: Floats32, owner: Owners, banks: Sequence[Floats32]) -> Floats:
    """The largest cosine of any frame of a video with any seed of an issue, [videos, issues]."""
    return _maximum(np.stack([(vectors @ seeds.T).max(axis=1) for seeds in banks], axis=1), owner)


def detector(tags: Floats32, owner: Owners, names: Sequence[str], issues: Sequence[Roles]) -> Floats:
    """The largest tag logit of anything of A in any frame, [videos, issues]: what it is, and not with whom."""
    place = _places(names)
    return _maximum(np.stack([tags[:, [place[r] for r in issue.a]].max(axis=1) for issue in issues], axis=1), owner)


def product(tags: Floats32, owner: Owners, names: Sequence[str], issues: Sequence[Roles]) -> Floats:
    """The largest product, over the frames, of the tag scores of A and of B, [videos, issues]; no seeds."""
    place = _places(names)
    score = 1 / (1 + np.exp(-tags.astype(np.float64)))
    sides = [[score[:, [place[r] for r in roles]].max(axis=1) for roles in (issue.a, issue.b)] for issue in issues]
    return _maximum(np.stack([a * b for a, b in sides], axis=1), owner)


def own_score(scores: Floats, truth: Sequence[frozenset[str]], issues: Sequence[str]) -> Floats:
    """The largest score [videos] of a video for an issue that it violates; -inf where it violates none."""
    violates = np.array([[issue in own for issue in issues] for own in truth])
    best: Floats = np.where(violates, scores, -np.inf).max(axis=1)
    return best


def _maximum(values: npt.NDArray[np.floating], owner: Owners) -> Floats:
    out = np.full((int(owner.max()) + 1, values.shape[1]), -np.inf)
    np.maximum.at(out, owner, values)
    return out


def _places(names: Sequence[str]) -> Mapping[str, int]:
    return {name: index for index, name in enumerate(names)}
