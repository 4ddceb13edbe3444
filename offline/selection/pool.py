"""The pool that seeds are chosen from: segments of known violations, and one vector for each."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from offline.manifest import Labelled
from offline.router.segments import Segment, segments_of
from offline.router.views import frames_of
from services.encoder import Encoder
from services.errors import WinnowError

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """Segments that violate something and can be decoded, in the manifest's order.

    Attributes:
        segments: of n clips.
        vectors: [n, d] unit vectors: the mean over a segment's frames.
        copies: of each what another segment must have too in order to be the same: bytes and times.
        unreadable: files that were left out, and why.
    """

    segments: tuple[Segment, ...]
    vectors: Floats32
    copies: tuple[tuple[str, float, float | None], ...]
    unreadable: tuple[tuple[Path, str], ...] = ()

    def of(self, issue: str) -> npt.NDArray[np.intp]:
        """Places of the segments that violate an issue."""
        return np.flatnonzero([issue in segment.issues for segment in self.segments])

    @property
    def issues(self) -> tuple[str, ...]:
        """Issues that the pool has segments of, sorted."""
        return tuple(sorted({issue for segment in self.segments for issue in segment.issues}))


def violating(rows: Sequence[Labelled], *, frames: int, issues: Collection[str] = ()) -> list[Segment]:
    """The segments that violate an issue, or one of these issues if any are named.

    Raises:
        ValueError: there are none.
    """
    found = [segment for segment in segments_of(rows, frames=frames) if segment.issues]
    kept = [segment for segment in found if not issues or segment.issues & set(issues)]
    if not kept:
        what = f"the issues {', '.join(sorted(issues))}" if issues else "any issue"
        raise ValueError(f"no video of the manifest violates {what}")
    return kept


def embed_pool(encoder: Encoder, segments: Sequence[Segment], console: Console, *, short_side: int) -> Pool:
    """The pool of the segments that can be decoded, seen as the router sees a seed.

    Args:
        encoder: whose vectors decide what is alike.
        segments: with the number of frames that a seed has.
        console: for progress.
        short_side: of the decoded frames, pixels.

    Raises:
        ValueError: not one of them can be decoded.
    """
    kept, vectors, unreadable = [], [], []
    for segment in track(segments, description="embedding", console=console):
        try:
            frames = encoder.embed_images(frames_of(segment.clip, short_side=short_side))
        except (WinnowError, ValueError) as error:
            unreadable.append((segment.clip.file, str(error)))
            continue
        kept.append(segment)
        vectors.append(mean_vector(frames))
    if not kept:
        raise ValueError(f"not one of the {len(segments)} segments can be decoded: {unreadable[0][1]}")
    copies = tuple((sha256(each.clip.file), each.clip.start_s, each.clip.end_s) for each in kept)
    return Pool(tuple(kept), np.stack(vectors), copies, tuple(unreadable))


def mean_vector(frames: Floats32) -> Floats32:
    """The unit vector [d] of the mean of unit vectors [frames, d]."""
    mean = frames.mean(axis=0)
    unit: Floats32 = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    return unit


def sha256(path: Path) -> str:
    """Of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
