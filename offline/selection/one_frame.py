"""A violation that shows in one sampled frame alone: is it found, by frame and by the mean over the frames?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from offline.demo_world.splits import KINDS
from offline.demo_world.taxonomy import violated
from offline.manifest import Labelled, LabelledShot
from offline.router.recipes import pooled
from offline.router.views import Clip
from offline.selection.banks import Floats32, Traffic, fit, recalls, risks, vectors_of
from offline.selection.world import SeedPool, World
from offline.statistics import Estimate
from services.contracts import SeedKind
from services.media import sample_times

FRAMES = 8


@dataclass(frozen=True)
class OneFrame:
    """What is found of one sort of violations.

    Attributes:
        name: which violations.
        videos: how many.
        by_frame: recall at each of PASS_RATES, as served.
        pooled: where a video and a seed are the means over their frames.
    """

    name: str
    videos: int
    by_frame: tuple[Estimate, ...]
    pooled: tuple[Estimate, ...]


def one_frame(
    world: World, traffic: Traffic, pool: SeedPool, places: Mapping[str, np.ndarray], *, rounds: int
) -> tuple[OneFrame, ...]:
    """All violations of the traffic, those that show in one or two sampled frames, and clips cut until it is one.

    Each sort takes the place of the violations in the traffic; look-alikes and others stay.

    Args:
        world: the splits.
        traffic: the split `test`.
        pool: segments that seeds are taken of.
        places: of each issue, the seeds' places in the pool.
        rounds: of the bootstrap.
    """
    violations = [place for place, row in enumerate(traffic.rows) if row.kind == KINDS[0]]
    brief = [place for place in violations if 1 <= frames_of_violation(traffic.rows[place]) <= 2]
    windows = {place: window for place in violations if (window := cut(traffic.rows[place]))}
    seen = world.look(
        [Clip(traffic.rows[place].file, *window) for place, window in windows.items()], "embedding cut clips"
    )
    frames = vectors_of(seen)
    cuts = [frames[seen.owner == number] for number in range(len(windows))]
    sorts: list[tuple[str, list[int], list[Floats32]]] = [
        ("all violations", violations, _videos(traffic, violations)),
        ("in one or two sampled frames", brief, _videos(traffic, brief)),
        ("cut until in one sampled frame", list(windows), cuts),
    ]
    rest = [place for place, row in enumerate(traffic.rows) if row.kind != KINDS[0]]
    others = _videos(traffic, rest)
    clean = world.clean()
    return tuple(
        _measure(
            name, [traffic.rows[place] for place in [*own, *rest]], [*videos, *others], len(own), clean, pool, places,
            world.viewer.fingerprint, rounds,
        )
        for name, own, videos in sorts
        if own
    )  # fmt: skip


def guilty(row: Labelled) -> LabelledShot | None:
    """The only shot that violates what the video does; None where there is not one such shot."""
    shots = [shot for shot in row.shots if row.truth & set(violated((frozenset(shot.objects),)))]
    return shots[0] if len(shots) == 1 else None


def frames_of_violation(row: Labelled) -> int:
    """How many of a video's sampled frames show its only violating shot; 0 where there is not one such shot."""
    shot, length = guilty(row), row.duration_s
    if shot is None or length is None:
        return 0
    return sum(shot.start_s <= time < shot.end_s for time in sample_times(length))


def cut(row: Labelled) -> tuple[float, float] | None:
    """Start and end, in seconds, of a clip of the video whose first or last eighth alone is of its violating shot.

    One of its FRAMES sampled frames, in the middle of that eighth, shows the violation. None where the violating shot
    is the only one, or too short.
    """
    shot, length = guilty(row), row.duration_s
    if shot is None or length is None:
        return None
    after, before = length - shot.end_s, shot.start_s
    share = max(after, before) / (FRAMES - 1)
    if share <= 0 or share > shot.end_s - shot.start_s:
        return None
    return (shot.end_s - share, length) if after >= before else (0.0, shot.start_s + share)


def _videos(traffic: Traffic, places: Sequence[int]) -> list[Floats32]:
    return [traffic.frames[traffic.owner == place] for place in places]


def _measure(
    name: str, rows: list[Labelled], videos: list[Floats32], count: int, clean: Traffic, pool: SeedPool,
    places: Mapping[str, np.ndarray], encoder: str, rounds: int,
) -> OneFrame:  # fmt: skip
    owner = np.repeat(np.arange(len(videos)), [len(frames) for frames in videos])
    traffic = Traffic(rows, np.concatenate(videos), owner)
    by_frame: Mapping[SeedKind, Mapping[str, Floats32]] = {"golden": pool.bank(places)}
    means: Mapping[SeedKind, Mapping[str, Floats32]] = {
        "golden": {issue: pool.means[own] for issue, own in places.items()}
    }
    mean_traffic = Traffic(rows, pooled(traffic.frames, owner), np.arange(len(rows)))
    mean_clean = pooled(clean.frames, clean.owner)
    served = risks(by_frame, traffic, fit(by_frame, clean.frames, encoder))
    meant = risks(means, mean_traffic, fit(means, mean_clean, encoder))
    return OneFrame(
        name, count, recalls([served], traffic, rounds=rounds), recalls([meant], mean_traffic, rounds=rounds)
    )
