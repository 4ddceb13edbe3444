"""The evaluation set: a split's routed traffic with its weights, frame embeddings and tower features, cached."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from offline.manifest import Labelled
from offline.paper.routing import Router, Routing, route_split
from services.media import encode_jpeg
from services.media.decode import RgbFrame


@dataclass(frozen=True)
class Routed:
    """Videos that the router sends on (Filter-And-Refine, section 5.3), and what the models see of them.

    Attributes:
        name: of the split.
        videos: n of them.
        asked: ids of the issues that the ranker is asked about, for each video.
        weight: [n] share of all traffic that each stands for.
        embeddings: [n, frames, dim] of the router, float32.
        features: [n, frames, patches, width] of the ranker's tower, float16.
        pass_rate: share of all traffic that is routed.
        recall: share of all violations that is routed.
        total: videos of the split.
        key: changes with everything that the set depends on.
    """

    name: str
    videos: tuple[Labelled, ...]
    asked: tuple[tuple[str, ...], ...]
    weight: npt.NDArray[np.float64]
    embeddings: npt.NDArray[np.float32]
    features: npt.NDArray[np.float16]
    pass_rate: float
    recall: float
    total: int
    key: str


class Tower:
    """The ranker's vision tower in training form: served JPEG frames in, patch tokens of its last block out.

    Args:
        clip: the open_clip model.
        image_processor: of the ranker.
        jpeg_quality: of the frames that the router sends.
        name: changes with the weights.
    """

    def __init__(self, clip: Any, image_processor: Any, jpeg_quality: int, name: str) -> None:
        self._clip = clip.eval()
        self._processor = image_processor
        self._quality = jpeg_quality
        self.name = name

    def features(self, frames: Sequence[RgbFrame]) -> npt.NDArray[np.float16]:
        """[frames, patches, width] of frames that travel as JPEG, as in service."""
        import torch
        from PIL import Image

        from offline.training.features import last_block

        sent = [Image.open(io.BytesIO(encode_jpeg(frame, self._quality))).convert("RGB") for frame in frames]
        with torch.inference_mode():
            pixels = self._processor(images=sent, return_tensors="pt")["pixel_values"]
            tokens: npt.NDArray[np.float16] = last_block(self._clip, pixels).numpy().astype(np.float16)
        return tokens


def routed_traffic(
    name: str,
    videos: Sequence[Labelled],
    weight: Sequence[float],
    router: Router,
    tower: Tower,
    folder: Path,
    console: Console,
) -> Routed:
    """Route a split and keep what the models see of the videos that pass; computed once.

    Raises:
        ValueError: nothing passes, or a video has fewer frames than the router sends.
    """
    key = _key(videos, router, tower)
    folder = folder / f"{name}-{key}"
    routings = route_split(router, videos, folder / "routing.jsonl", console)
    passed = [i for i, routing in enumerate(routings) if routing.asked]
    if not passed:
        raise ValueError(f"the router passes none of the {len(videos)} videos of {name}; lower its thresholds")
    short = [videos[i].id for i in passed if len(routings[i].frames) < router.frames]
    if short:
        raise ValueError(f"{short[0]} has fewer than {router.frames} frames; the tables need as many of each video")
    embeddings, features = _seen(videos, routings, passed, router, tower, folder, console)
    shares = np.array(weight, dtype=np.float64) / np.sum(weight)
    guilty = np.array([bool(video.truth) for video in videos])
    return Routed(
        name=name,
        videos=tuple(videos[i] for i in passed),
        asked=tuple(routings[i].asked for i in passed),
        weight=shares[passed],
        embeddings=embeddings,
        features=features,
        pass_rate=float(shares[passed].sum()),
        recall=float(shares[passed][guilty[passed]].sum() / shares[guilty].sum()) if guilty.any() else float("nan"),
        total=len(videos),
        key=key,
    )


def _seen(
    videos: Sequence[Labelled],
    routings: Sequence[Routing],
    passed: Sequence[int],
    router: Router,
    tower: Tower,
    folder: Path,
    console: Console,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float16]]:
    cache = folder / "seen.npz"
    if not cache.exists():
        embeddings, features = [], []
        for index in track(passed, description="features", console=console):
            decoded = router.decode(videos[index].file)
            frames = [decoded[frame] for frame in routings[index].frames]
            embeddings.append(router.encoder.embed_images(frames))
            features.append(tower.features(frames))
        part = folder / "seen.part.npz"
        np.savez(part, embeddings=np.stack(embeddings), features=np.stack(features))
        part.replace(cache)
    with np.load(cache) as saved:
        return saved["embeddings"], saved["features"]


def _key(videos: Sequence[Labelled], router: Router, tower: Tower) -> str:
    """12 hex digits over videos, router, policy and tower."""
    digest = hashlib.sha256()
    for part in (router.encoder.fingerprint, tower.name, router.policy.policy_hash, str(router.background)):
        digest.update(part.encode())
    digest.update(f"{router.frames} {router.short_side} {router.policy.model_dump_json()}".encode())
    for issue, seeds in sorted(router.seeds.items()):
        digest.update(issue.encode() + np.ascontiguousarray(seeds).tobytes())
    for video in videos:
        stat = video.file.stat()
        digest.update(f"{video.id} {stat.st_size} {sorted(video.truth)} {video.title}".encode())
    return digest.hexdigest()[:12]
