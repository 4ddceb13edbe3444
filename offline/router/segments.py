"""What a labelled manifest teaches the router: segments of videos, what each violates and what it merely resembles."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.demo_world.taxonomy import violated
from offline.manifest import Labelled, LabelledShot
from offline.router.views import Clip

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Segment:
    """A part of a video.

    Attributes:
        video: id of the video.
        clip: the file and the times.
        issues: what it violates.
        near: what it resembles without violating it.
        caption: what it shows; empty where nobody said.
    """

    video: str
    clip: Clip
    issues: frozenset[str]
    near: frozenset[str]
    caption: str


def segments_of(rows: Sequence[Labelled], *, frames: int) -> list[Segment]:
    """Segments of all rows, with `frames` frames each.

    A video's shots are segments where it is known what each violates: because the manifest says so of one shot at
    least, because the taxonomy of the demo world finds in their objects what the row says, or because the video
    violates nothing. Any other video is one segment.
    """
    known = sorted({issue for row in rows for issue in row.truth})
    return [segment for row in rows for segment in _of(row, known, frames)]


def _of(row: Labelled, known: Sequence[str], frames: int) -> list[Segment]:
    if row.look_alike_of:
        near = frozenset({row.look_alike_of})
    else:  # it is not said of what
        near = frozenset(known) if row.kind == "look_alike" or row.look_alike else frozenset()
    shots = _labelled_shots(row)
    if not shots:
        return [Segment(row.id, Clip(row.file, frames=frames), row.truth, near - row.truth, row.caption)]
    return [
        Segment(
            row.id,
            Clip(row.file, shot.start_s, shot.end_s, frames),
            issues,
            near - issues,
            _caption(shot) or row.caption,
        )
        for shot, issues in shots
    ]


def _labelled_shots(row: Labelled) -> list[tuple[LabelledShot, frozenset[str]]]:
    """The shots with what each violates; none where that cannot be told."""
    if not row.truth:
        return [(shot, frozenset[str]()) for shot in row.shots]
    if any(shot.issues is not None for shot in row.shots):
        return [(shot, frozenset(shot.issues or ())) for shot in row.shots]
    found = [(shot, frozenset(violated((frozenset(shot.objects),)))) for shot in row.shots]
    told = frozenset(issue for _, issues in found for issue in issues)
    return found if told == row.truth else []


def _caption(shot: LabelledShot) -> str:
    return "a picture of " + " and ".join(name.replace("_", " ") for name in shot.objects) if shot.objects else ""


def multi_hot(sets: Sequence[frozenset[str]], labels: Sequence[str]) -> Bools:
    """bool [n, labels]: which labels each set holds."""
    return np.array([[label in own for label in labels] for own in sets], dtype=bool).reshape(len(sets), len(labels))


def held_out(segments: Sequence[Segment], share: float) -> Bools:
    """bool [n]: segments of the videos that are kept for examination; it depends on the video's id alone."""
    ranks = [int(hashlib.sha256(s.video.encode()).hexdigest()[:8], 16) / 2**32 for s in segments]
    return np.array(ranks) < share


@dataclass(frozen=True)
class Drawer:
    """Draws batches of segments: half violate, each issue as often as any; a quarter resemble; the others are the rest.

    Attributes:
        issues: bool [n, k], what each segment violates.
        near: bool [n, k], what it resembles.
        seed: of the draws.
    """

    issues: Bools
    near: Bools
    seed: int

    def draw(self, number: int, size: int) -> npt.NDArray[np.intp]:
        """Places [size] of the segments in batch `number`, the same in each run."""
        rng = np.random.default_rng([self.seed, number])
        clean, near = self.issues.sum(axis=1) == 0, self.near.sum(axis=1) > 0
        resembling, rest = (np.flatnonzero(clean & which) for which in (near, ~near))
        taught = np.flatnonzero(self.issues.any(axis=0))
        violations = size // 2 if len(resembling) + len(rest) else size
        guilty = [int(rng.choice(np.flatnonzero(self.issues[:, taught[i % len(taught)]]))) for i in range(violations)]
        left = size - violations
        hard = min(left, size // 4) if len(rest) else left
        if not len(resembling):
            hard = 0
        chosen = [
            *guilty,
            *(rng.choice(resembling, hard) if hard else ()),
            *(rng.choice(rest, left - hard) if left - hard else ()),
        ]
        return np.array(chosen, dtype=np.intp)


def near_misses(vectors: npt.NDArray[np.float32], issues: Bools, near: Bools, *, share: float) -> Bools:
    """`near` with more: for an issue that nothing is said to resemble, the clean segments that lie nearest to it.

    Args:
        vectors: unit vectors [n, d] of the segments before training.
        issues: bool [n, k].
        near: bool [n, k].
        share: of the clean segments that become near misses of such an issue.
    """
    out = near.copy()
    clean = np.flatnonzero(~issues.any(axis=1))
    count = round(share * len(clean))
    for label in range(issues.shape[1]):
        if near[:, label].any() or not issues[:, label].any() or not count:
            continue
        centre = vectors[issues[:, label]].mean(axis=0)
        nearest = clean[np.argsort(-(vectors[clean] @ centre), kind="stable")[:count]]
        out[nearest, label] = True
    return out
