"""Chooses videos: a balanced subset without duplicates, and splits that no duplicate and no group crosses."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from offline.duplicates import Looked, components, same_bytes, same_group, same_look
from offline.manifest import Labelled, ManifestError

T = TypeVar("T")
CLEAN = "clean"
"""The class of videos that violate nothing."""


def balanced(
    rows: Sequence[Labelled], looked: Sequence[Looked], *, per_class: int | None = None, seed: int = 0
) -> list[Labelled]:
    """As many videos of each issue and as many clean ones, those of every kind in equal parts as far as they go.

    Of videos that are the same by bytes or look, the first counts; of a group that lies in several splits, only the
    part in the split of its first video; broken videos do not. A video of several issues counts for the rarest.

    Args:
        rows: of a manifest.
        looked: what their files tell, in the same order.
        per_class: videos of each class; as many as the smallest class has if None.
        seed: of the choice, which depends on nothing else.

    Returns:
        The rows chosen, in their order.

    Raises:
        ManifestError: a class has fewer videos.
    """
    usable = _usable(rows, looked)
    counts = Counter(issue for row in usable for issue in row.truth)
    classes: dict[str, list[Labelled]] = {issue: [] for row in rows for issue in row.issues}
    kinds: dict[str, list[Labelled]] = {}
    for row in sorted(usable, key=lambda row: _draw(seed, row.id)):
        if row.issues:
            classes[min(row.truth, key=lambda issue: (counts[issue], issue))].append(row)
        else:
            kinds.setdefault(row.kind, []).append(row)
    classes[CLEAN] = in_turn([kinds[kind] for kind in sorted(kinds)])
    least = min(classes, key=lambda name: len(classes[name]))
    wanted = len(classes[least]) if per_class is None else per_class
    if wanted < 1 or wanted > len(classes[least]):
        raise ManifestError(
            [
                f"{name}: {len(members)} usable videos; label more, or ask for at most {len(classes[least])} of each"
                for name, members in sorted(classes.items())
                if len(members) < max(wanted, 1)
            ]
        )
    chosen = {row.id for members in classes.values() for row in members[:wanted]}
    return [row for row in rows if row.id in chosen]


def _usable(rows: Sequence[Labelled], looked: Sequence[Looked]) -> list[Labelled]:
    dropped = {index for index, each in enumerate(looked) if each.error}
    label = components(len(rows), [*same_bytes(looked), *same_look(looked)])
    first: dict[int, int] = {}
    for index in range(len(rows)):
        if index not in dropped and first.setdefault(label[index], index) != index:
            dropped.add(index)
    for group in same_group(rows):
        dropped |= {index for index in group if rows[index].split != rows[group[0]].split}
    return [row for index, row in enumerate(rows) if index not in dropped]


def in_turn(lists: Sequence[Sequence[T]]) -> list[T]:
    """One of each list after the other, until all are empty."""
    longest = max(map(len, lists), default=0)
    return [each[index] for index in range(longest) for each in lists if index < len(each)]


def split_rows(
    rows: Sequence[Labelled], looked: Sequence[Looked], shares: Mapping[str, float], *, seed: int = 0
) -> list[Labelled]:
    """The rows with new splits: what is the same by bytes, look or group stays together, issues are spread alike.

    Clusters of such videos are dealt out, those of the rarest label and the largest first, each to the split that
    lacks most of its labels, relative to how many of them it should get (after Sechidis et al. 2011, iterative
    stratification).

    Args:
        rows: of a manifest; their own splits do not matter.
        looked: what their files tell, in the same order.
        shares: of the videos for each split, positive; their sum is 1 in effect.
        seed: of the order among equals.

    Raises:
        ManifestError: a split would get no video.
    """
    label = components(len(rows), [*same_bytes(looked), *same_look(looked), *same_group(rows)])
    clusters: dict[int, list[int]] = {}
    for index in range(len(rows)):
        clusters.setdefault(label[index], []).append(index)
    names = [row.issues or (f"{CLEAN}: {row.kind}",) for row in rows]
    totals = Counter(name for each in names for name in set(each))
    total_share = sum(shares.values())
    lacking = {
        split: Counter({name: count * share / total_share for name, count in totals.items()})
        for split, share in shares.items()
    }
    room = {split: len(rows) * share / total_share for split, share in shares.items()}

    def order(cluster: Sequence[int]) -> tuple[int, int, str]:
        rarest = min(totals[name] for index in cluster for name in names[index])
        return rarest, -len(cluster), _draw(seed, rows[cluster[0]].id)

    split_of: dict[int, str] = {}
    for cluster in sorted(clusters.values(), key=order):
        held = Counter(name for index in cluster for name in set(names[index]))
        rarest = min(held, key=lambda name: (totals[name], name))
        chosen = max(shares, key=lambda split: (lacking[split][rarest], room[split], split))
        lacking[chosen].subtract(held)
        room[chosen] -= len(cluster)
        split_of |= dict.fromkeys(cluster, chosen)
    empty = sorted(set(shares) - set(split_of.values()))
    if empty:
        raise ManifestError([f"the split {name} would get no video; there are too few that differ" for name in empty])
    return [row.model_copy(update={"split": split_of[index]}) for index, row in enumerate(rows)]


def _draw(seed: int, name: str) -> str:
    """What orders videos at random, the same everywhere."""
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
