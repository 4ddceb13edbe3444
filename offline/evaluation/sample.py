"""Which videos are evaluated, how they are weighed, and which of them are asked the expensive questions. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from offline.demo_world.splits import MIX
from offline.manifest import Labelled

DEMO = "demo"


def demo_mix() -> dict[str, float]:
    """Shares of traffic in the demo world, by kind."""
    return {str(kind): share for kind, share in MIX.items()}


def parse_mix(parts: Sequence[str]) -> Mapping[str, float] | None:
    """Shares of traffic by kind: `demo`, or `violation=0.01` and so on for each kind; None for none.

    Raises:
        ValueError: it is neither.
    """
    if not parts:
        return None
    if list(parts) == [DEMO]:
        return demo_mix()
    mix: dict[str, float] = {}
    for part in parts:
        kind, equals, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not equals or not kind.strip() or not 0 < value < float("inf") or kind.strip() in mix:
            raise ValueError(f"a mix is `{DEMO}`, or KIND=SHARE once for each kind with shares above 0, not {part!r}")
        mix[kind.strip()] = value
    return mix


def described(mix: Mapping[str, float] | None, rows: Sequence[Labelled]) -> str:
    """How the videos are weighed, in words."""
    if mix is not None:
        total = sum(mix.values())
        return "reweighted to " + ", ".join(f"{share / total:.3g} {kind}" for kind, share in mix.items()) + "."
    if all(row.weight is None for row in rows):
        return "all videos count the same; rates are those of the manifest and not of traffic."
    return "the manifest's own."


def require_labels(rows: Sequence[Labelled], path: object) -> None:
    """Raise ValueError where the labels cannot tell right from wrong."""
    if not any(row.issues for row in rows):
        raise ValueError(f"{path}: no video is labelled with an issue; fill in the column `issues`")
    if all(row.issues for row in rows):
        raise ValueError(f"{path}: all videos are violations; add clean ones, or false alarms cannot be seen")


def stratified(rows: Sequence[Labelled], size: int, *, seed: int = 0) -> list[Labelled]:
    """So many videos, as many of each kind as there are, in the manifest's order; all where there are fewer.

    The same seed gives a smaller sample that is part of a larger one, if the kinds have videos enough.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    kinds: dict[str, list[int]] = {}
    for index in order:
        kinds.setdefault(rows[index].kind, []).append(int(index))
    chosen: set[int] = set()
    turn = 0
    while len(chosen) < min(size, len(rows)):
        for kind in sorted(kinds):
            if turn < len(kinds[kind]) and len(chosen) < size:
                chosen.add(kinds[kind][turn])
        turn += 1
    return [rows[index] for index in sorted(chosen)]
