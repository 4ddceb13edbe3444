"""Fits what stands between similarities and decisions: the encoder's background, router thresholds, calibrators."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from offline.calibration import Samples
from offline.demo_world.splits import MIX
from offline.demo_world.taxonomy import ISSUES_BY_ID
from offline.evaluation.collect import Observation
from offline.manifest import Labelled
from services.contracts import SeedKind
from services.encoder import Encoder
from services.media import SamplingPlan, sample_times
from services.media.decode import decode_frames
from services.scoring import Background

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
Similarities = Sequence[Mapping[str, Floats]]
"""For each video and issue, the best similarity of every sampled frame with a seed, shape [frames]."""
_Name = TypeVar("_Name", bound=Hashable)


@dataclass(frozen=True)
class SeedSegment:
    """A row of a seed manifest; or a look-alike, with the issue that it resembles."""

    path: Path
    issue: str
    start_s: float
    end_s: float


def read_seeds(manifest: Path) -> list[SeedSegment]:
    """Rows of a seed manifest."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return [SeedSegment(manifest.parent / r["path"], r["issue"], r["start_s"], r["end_s"]) for r in rows]


def look_alike_seeds(rows: Sequence[Labelled]) -> list[SeedSegment]:
    """Of each look-alike of the demo world the first shot that shows something of what it resembles.

    Raises:
        ValueError: no shot does.
    """
    found = []
    for row in rows:
        if row.look_alike_of is None:
            continue
        issue = ISSUES_BY_ID[row.look_alike_of]
        parts = frozenset(issue.members(issue.a) + issue.members(issue.b))
        shot = next((shot for shot in row.shots if parts.intersection(shot.objects)), None)
        if shot is None:
            raise ValueError(f"nothing in {row.id} resembles {issue.id}")
        found.append(SeedSegment(row.file, issue.id, shot.start_s, shot.end_s))
    return found


def embed_seeds(encoder: Encoder, seeds: Sequence[SeedSegment], *, frames: int, short_side: int) -> dict[str, Vectors]:
    """Seed vectors [n, dim] of every issue, made as the router makes them."""
    vectors: dict[str, list[Vectors]] = {}
    for seed in seeds:
        times = sample_times(seed.end_s, start_s=seed.start_s, end_s=seed.end_s, count=frames)
        video = decode_frames(seed.path, times=times, short_side=short_side)
        vectors.setdefault(seed.issue, []).append(encoder.embed_images(video.frames))
    return {issue: np.concatenate(own) for issue, own in vectors.items()}


def frame_similarities(
    encoder: Encoder,
    bank: Mapping[_Name, Vectors],
    videos: Sequence[Labelled],
    console: Console,
    *,
    short_side: int,
) -> list[dict[_Name, Floats]]:
    """For each video and name in the bank, the best similarity of every sampled frame, shape [frames]."""
    plan = SamplingPlan()
    out = []
    for video in track(videos, description="embedding", console=console):
        vectors = encoder.embed_images(decode_frames(video.file, plan=plan, short_side=short_side).frames)
        out.append({name: (vectors @ seeds.T).max(axis=1).astype(np.float64) for name, seeds in bank.items()})
    return out


def similarities_by_kind(
    encoder: Encoder,
    banks: Mapping[SeedKind, Mapping[str, Vectors]],
    videos: Sequence[Labelled],
    console: Console,
    *,
    short_side: int,
) -> dict[SeedKind, Similarities]:
    """The similarities with the seeds of each kind; every video is decoded and embedded once.

    Args:
        encoder: of the seeds and the videos.
        banks: of each kind, the seed vectors [n, dim] of every issue.
        videos: n of them.
        console: for progress.
        short_side: of decoded frames, pixels.
    """
    flat = {(kind, issue): seeds for kind, bank in banks.items() for issue, seeds in bank.items()}
    found = frame_similarities(encoder, flat, videos, console, short_side=short_side)
    return {kind: [{issue: row[kind, issue] for issue in bank} for row in found] for kind, bank in banks.items()}


def fit_background(
    similarities: Mapping[SeedKind, Similarities], videos: Sequence[Labelled], fingerprint: str
) -> Background:
    """The background of each kind of seed, on clean videos in the proportions of traffic.

    The sample must hold look-alikes and others in the ratio of the mix, because quantiles are unweighted.

    Raises:
        ValueError: it does not.
    """
    clean = [place for place, video in enumerate(videos) if video.kind != "violation"]
    look_alikes = sum(v.kind == "look_alike" for v in videos) / max(len(clean), 1)
    wanted = MIX["look_alike"] / (MIX["look_alike"] + MIX["other"])
    if abs(look_alikes - wanted) > 0.02:
        raise ValueError(f"look-alikes are {look_alikes:.3f} of the clean sample, {wanted:.3f} of traffic")
    sample = {
        kind: np.concatenate([values for place in clean for values in rows[place].values()])
        for kind, rows in similarities.items()
    }
    return Background.fit(sample, encoder=fingerprint)


def risks(similarities: Similarities, background: Background, issues: Sequence[str]) -> Floats:
    """Risk of every video and issue, [videos, issues], for a bank without negatives."""
    return np.array([[background.level("golden", float(s[issue].max())) for issue in issues] for s in similarities])


def samples_of(observations: Sequence[Observation]) -> Samples:
    """Every issue that the ranker was asked about is one sample.

    Raises:
        ValueError: nothing was routed.
    """
    rows = [
        (issue.score, issue.id in o.truth, o.weight, issue.id)
        for o in observations
        for issue in o.decision.issues
        if issue.score is not None
    ]
    if not rows:
        raise ValueError("the ranker was asked about none of the videos; lower the router thresholds")
    score, label, weight, issue = zip(*rows, strict=True)
    return Samples(np.array(score), np.array(label, dtype=bool), np.array(weight), np.array(issue))
