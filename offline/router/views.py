"""What an encoder sees in clips, frame by frame: computed once, in chunks, and kept in files."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from services.media import SamplingPlan, sample_times
from services.media.decode import RgbFrame, decode_frames

Floats32 = npt.NDArray[np.float32]
_CHUNK = 64
_DECODERS = 2


@dataclass(frozen=True)
class Clip:
    """A video, or a segment of one in seconds; `frames` takes the place of the sampling plan's number."""

    file: Path
    start_s: float = 0.0
    end_s: float | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Views:
    """Every frame of n clips, in order.

    Attributes:
        owner: int [frames], the clip that each belongs to.
        pooled: [frames, d] unit vectors, the model's image embedding.
        head: [frames, e] unit vectors of the learned head; e is 0 without one.
        tags: [frames, t] its tag logits, the maximum over the patches; t is 0 without one.
    """

    owner: npt.NDArray[np.intp]
    pooled: Floats32
    head: Floats32
    tags: Floats32


class Viewer:
    """A local model directory, loaded once, that looks at clips as the router does.

    Args:
        model: as `services.encoder.open_clip.load_encoder` takes it.
        short_side: of the decoded frames, pixels.
        cache: folder of what was seen; of other models, clips and sizes it holds other files.
    """

    def __init__(self, model: str, *, short_side: int, cache: Path) -> None:
        from services.encoder.open_clip import load_encoder, load_parts

        self._parts: Any = load_parts(model)
        self._parts.network.eval()
        self.fingerprint = load_encoder(model).fingerprint
        self.tags: tuple[str, ...] = self._parts.head.config.tags if self._parts.head else ()
        self._short_side, self._cache = short_side, cache

    def look(self, clips: Sequence[Clip], title: str, console: Console) -> Views:
        """Views of the clips; those that the cache holds are read."""
        folder = self._cache / f"{self.fingerprint}-{self._short_side}-{_digest(clips)}"
        folder.mkdir(parents=True, exist_ok=True)
        starts = range(0, len(clips), _CHUNK)
        with ThreadPoolExecutor(_DECODERS) as pool:
            chunks = [
                self._chunk(clips, start, folder / f"{start:06d}.npz", pool)
                for start in track(starts, description=title, console=console)
            ]
        columns = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        return Views(columns["owner"].astype(np.intp), columns["pooled"], columns["head"], columns["tags"])

    def _chunk(
        self, clips: Sequence[Clip], start: int, path: Path, pool: ThreadPoolExecutor
    ) -> dict[str, npt.NDArray[Any]]:
        if not path.exists():
            rows = [
                {"owner": np.full(len(frames), start + number), **self._see(frames)}
                for number, frames in enumerate(self._decoded(clips[start : start + _CHUNK], pool))
            ]
            part = path.with_suffix(".part.npz")
            owner, pooled, head, tags = (np.concatenate([row[name] for row in rows]) for name in rows[0])
            np.savez(part, owner=owner, pooled=pooled, head=head, tags=tags)
            part.replace(path)
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}

    def _decoded(self, clips: Sequence[Clip], pool: ThreadPoolExecutor) -> Iterator[list[RgbFrame]]:
        return pool.map(lambda clip: frames_of(clip, short_side=self._short_side), clips)

    def _see(self, frames: Sequence[RgbFrame]) -> dict[str, Floats32]:
        import torch
        from torch.nn import functional

        from services.encoder.open_clip import image_embedding, patch_tokens
        from services.encoder.preprocess import prepare

        with torch.inference_mode():
            pixels = prepare(self._parts.preprocess, frames)
            pooled = functional.normalize(image_embedding(self._parts.network, pixels).float(), dim=-1)
            head = tags = torch.empty(len(frames), 0)
            if self._parts.head is not None:
                tokens = patch_tokens(self._parts.network.visual, pixels).float()
                tags = self._parts.head.frame_tag_logits(tokens)
                head = self._parts.head(tokens)
        return {"pooled": pooled.numpy(), "head": head.numpy(), "tags": tags.numpy()}


def frames_of(clip: Clip, *, short_side: int) -> list[RgbFrame]:
    """Frames of a clip as the router takes them from a video, or from a seed where `frames` is given."""
    if clip.frames is None:
        whole = decode_frames(
            clip.file, plan=SamplingPlan(), short_side=short_side, start_s=clip.start_s, end_s=clip.end_s
        )
        return whole.frames
    if clip.end_s is None:
        duration = decode_frames(clip.file, times=(0.0,), short_side=16).facts.duration_s
        times = sample_times(duration, start_s=clip.start_s, count=clip.frames)
    else:
        times = sample_times(clip.end_s, start_s=clip.start_s, end_s=clip.end_s, count=clip.frames)
    return decode_frames(clip.file, times=times, short_side=short_side).frames


def _digest(clips: Sequence[Clip]) -> str:
    digest = hashlib.sha256()
    for clip in clips:
        stat = clip.file.stat()
        digest.update(
            repr((str(clip.file), stat.st_size, stat.st_mtime_ns, clip.start_s, clip.end_s, clip.frames)).encode()
        )
    return digest.hexdigest()[:16]
