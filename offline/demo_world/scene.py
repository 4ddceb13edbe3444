"""What happens in a video, drawn from a random generator: shots, backgrounds, sprites and their paths. Pure."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from offline.demo_world.art import Style
from offline.demo_world.taxonomy import (
    EXTRA_BENIGN,
    ISSUES,
    ISSUES_BY_ID,
    LOOK_ALIKES,
    ROLE_OF,
    TRIGGER_ROLES,
    DemoIssue,
    LookAlike,
    violated,
)

Kind = Literal["violation", "look_alike", "other"]

WORLD_SIZE = 160  # pixels, the coordinate system of every scene
FPS = 8
SPRITE_SIZE = (36.0, 72.0)  # pixels at WORLD_SIZE


@dataclass(frozen=True)
class Sprite:
    """A sprite that drifts, turns and grows over its shot; positions are centres in WORLD_SIZE coordinates."""

    name: str
    start: tuple[float, float]
    end: tuple[float, float]
    size: tuple[float, float]  # pixels at the start and at the end of the shot
    angle: tuple[float, float]  # degrees
    mirrored: bool


@dataclass(frozen=True)
class Background:
    """A background: a pattern between two colours."""

    pattern: Literal["gradient", "noise", "stripes", "blobs"]
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]
    seed: int


@dataclass(frozen=True)
class Shot:
    """A shot from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    background: Background
    sprites: tuple[Sprite, ...]

    @property
    def names(self) -> frozenset[str]:
        """Names of everything that the shot shows."""
        return frozenset(sprite.name for sprite in self.sprites)


@dataclass(frozen=True)
class Scene:
    """A whole video before it is drawn, with its truth."""

    id: str
    kind: Kind
    look_alike: LookAlike | None
    look_alike_of: str | None
    style: Style
    title: str
    shots: tuple[Shot, ...]

    @property
    def duration_s(self) -> float:
        """Length, seconds."""
        return self.shots[-1].end_s

    @property
    def issues(self) -> tuple[str, ...]:
        """Issue ids that the video violates."""
        return violated(tuple(shot.names for shot in self.shots))

    def shot_at(self, time_s: float) -> Shot:
        """The shot at a time in seconds; the last one from its end on."""
        return next((shot for shot in self.shots if time_s < shot.end_s), self.shots[-1])


@dataclass(frozen=True)
class Pools:
    """Names that distractors may come from: `neutral` anywhere, `others` where nothing of any A is in the video."""

    neutral: tuple[str, ...]
    others: tuple[str, ...]


_TITLES = (
    "my day with {0}", "{0} and {1}", "look at this {0}", "best {0} ever", "{0} compilation", "how to {0}",
    "why {0} matters", "{0} vs {1}", "a short clip", "untitled", "part two", "you will not believe this {0}",
)  # fmt: skip


def compose(
    rng: np.random.Generator,
    pools: Pools,
    *,
    video_id: str,
    kind: Kind,
    styles: tuple[Style, ...],
    issue: str | None = None,
    look_alike: LookAlike | None = None,
) -> Scene:
    """Draw a scene of the given kind; issue and look-alike kind are drawn too where they are not given."""
    chosen = ISSUES_BY_ID[issue] if issue else ISSUES[int(rng.integers(len(ISSUES)))]
    sort: LookAlike | None = None
    if kind == "look_alike":
        sort = look_alike or LOOK_ALIKES[int(rng.integers(len(LOOK_ALIKES)))]
    contents = _contents(rng, pools, kind, chosen, sort)
    duration = round(float(rng.uniform(3.0, 6.0)) * FPS) / FPS
    cuts = _cuts(rng, duration, len(contents))
    shots = tuple(
        Shot(start, end, _background(rng), _place(rng, names))
        for (start, end), names in zip(pairwise(cuts), contents, strict=True)
    )
    style = styles[int(rng.integers(len(styles)))]
    everything = [name.replace("_", " ").replace("-", " ") for names in contents for name in names]
    pick = rng.permutation(len(everything))
    words = [everything[int(i)] for i in pick[:2]] + ["something"]
    title = _TITLES[int(rng.integers(len(_TITLES)))].format(words[0], words[1])
    return Scene(
        video_id,
        kind,
        sort,
        chosen.id if kind == "look_alike" else None,
        style,
        title if rng.random() < 0.5 else "",
        shots,
    )


def _contents(
    rng: np.random.Generator, pools: Pools, kind: Kind, issue: DemoIssue, sort: LookAlike | None
) -> list[list[str]]:
    """Names in every shot, in order."""
    a, b = _pick(rng, issue.members(issue.a)), _pick(rng, issue.members(issue.b))
    benign = issue.members(issue.c) + EXTRA_BENIGN.get(issue.id, ())
    count = int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
    if kind == "other":
        return [_distinct(rng, [], _remaining(pools), _crowd(rng)) for _ in range(count)]
    if sort == "split_shots":
        count = max(count, 2)
    key: list[list[str]]
    if kind == "violation":
        key = [[a, b]]
    elif sort == "a_with_c":
        key = [[a, _pick(rng, benign)]]
    elif sort == "a_alone":
        key = [[a]]
    elif sort == "b_alone":
        key = [[b]]
    else:
        key = [[a], [b]] if rng.random() < 0.5 else [[b], [a]]
    slots = sorted(int(i) for i in rng.choice(count, size=len(key), replace=False))
    contents: list[list[str]] = []
    for shot in range(count):
        wanted = key[slots.index(shot)] if shot in slots else []
        contents.append(_distinct(rng, wanted, pools.neutral, max(_crowd(rng), len(wanted) + (len(wanted) < 2))))
    return contents


def _remaining(pools: Pools) -> tuple[str, ...]:
    """Every emoji but the triggers: B and C of every issue are ordinary things."""
    ordinary = tuple(name for name, role in ROLE_OF.items() if role not in TRIGGER_ROLES)
    return pools.others + ordinary


def _crowd(rng: np.random.Generator) -> int:
    return int(rng.choice([2, 3, 4], p=[0.45, 0.45, 0.1]))


def _pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _distinct(rng: np.random.Generator, wanted: list[str], pool: tuple[str, ...], size: int) -> list[str]:
    names = list(wanted)
    while len(names) < size:
        name = _pick(rng, pool)
        if name not in names:
            names.append(name)
    order = rng.permutation(len(names))
    return [names[int(i)] for i in order]


def _cuts(rng: np.random.Generator, duration: float, shots: int) -> list[float]:
    """Times of the cuts, on whole frames; no shot is shorter than 0.6 of its fair share."""
    shares = rng.uniform(0.7, 1.3, size=shots)
    edges = np.concatenate([[0.0], np.cumsum(shares / shares.sum())]) * duration
    return [round(float(edge) * FPS) / FPS for edge in edges]


def _background(rng: np.random.Generator) -> Background:
    patterns: tuple[Literal["gradient", "noise", "stripes", "blobs"], ...] = ("gradient", "noise", "stripes", "blobs")
    first, second = (tuple(int(c) for c in rng.integers(20, 236, size=3)) for _ in range(2))
    return Background(
        patterns[int(rng.integers(4))],
        ((first[0], first[1], first[2]), (second[0], second[1], second[2])),
        int(rng.integers(2**31)),
    )


def _place(
    rng: np.random.Generator, names: list[str], *, size: tuple[float, float] = SPRITE_SIZE
) -> tuple[Sprite, ...]:
    """Sprites whose centres stay apart, so that none hides another."""
    placed: list[Sprite] = []
    for name in names:
        start_size = float(rng.uniform(*size))
        best: tuple[float, tuple[float, float]] = (-np.inf, (0.0, 0.0))
        margin = start_size / 2
        for _ in range(12):
            x, y = (float(v) for v in rng.uniform(margin, WORLD_SIZE - margin, size=2))
            gap = min(
                (np.hypot(x - o.start[0], y - o.start[1]) - (start_size + o.size[0]) * 0.45 for o in placed),
                default=0.0,
            )
            if gap > best[0]:
                best = (gap, (x, y))
            if gap >= 0:
                break
        start = best[1]
        drift = rng.uniform(-14, 14, size=2)
        lo, hi = margin * 0.9, WORLD_SIZE - margin * 0.9
        end = (float(np.clip(start[0] + drift[0], lo, hi)), float(np.clip(start[1] + drift[1], lo, hi)))
        grow = float(rng.uniform(0.85, 1.15))
        angle = float(rng.uniform(-15, 15))
        placed.append(
            Sprite(
                name, start, end, (start_size, float(np.clip(start_size * grow, *size))),
                (angle, angle + float(rng.uniform(-12, 12))), bool(rng.random() < 0.3),
            )
        )  # fmt: skip
    return tuple(placed)


def collage(rng: np.random.Generator, names: list[str], *, size: tuple[float, float] = (30.0, 76.0)) -> Shot:
    """A shot crowded with the given names: dense training wants many labelled sprites an image."""
    return Shot(0.0, 1.0, _background(rng), _place(rng, names, size=size))
