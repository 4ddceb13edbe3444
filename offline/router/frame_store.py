"""Frames of segments at the size of a model's input, decoded once and kept in one file."""

import hashlib
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import track

from offline.router.segments import Segment
from offline.router.views import frames_of
from services.errors import WinnowError

Pictures = npt.NDArray[np.uint8]
_CHUNK = 32


def geometry(preprocess: Any) -> Sequence[Any]:
    """The steps of open_clip's preprocessing that end in a picture: all but the conversion and the normalisation.

    Raises:
        ValueError: it does not end in these two.
    """
    from torchvision.transforms import Normalize, ToTensor

    steps: Sequence[Any] = getattr(preprocess, "transforms", ())
    if len(steps) < 2 or not isinstance(steps[-2], ToTensor) or not isinstance(steps[-1], Normalize):
        raise ValueError("the model's preprocessing does not end in a conversion to a tensor and a normalisation")
    return steps[:-2]


def store_frames(
    segments: Sequence[Segment], preprocess: Any, folder: Path, console: Console, *, frames: int, short_side: int
) -> tuple[Pictures, npt.NDArray[np.bool_]]:
    """Pictures uint8 [n, frames, size, size, 3] as a memory map, and bool [n], which segments could be decoded.

    Of a segment with fewer frames the last one is repeated. A run that was stopped goes on where it was.

    Raises:
        ValueError: nothing can be decoded.
    """
    steps = geometry(preprocess)
    probe = _picture(steps, np.zeros((64, 64, 3), np.uint8))
    name = _digest(segments, steps, frames, short_side)
    path, state = folder / f"frames-{name}.npy", folder / f"frames-{name}.txt"
    folder.mkdir(parents=True, exist_ok=True)
    begun = path.exists() and state.exists()
    usable = [mark == "1" for mark in state.read_text(encoding="utf-8")] if begun else []
    pictures = np.lib.format.open_memmap(
        path, mode="r+" if begun else "w+", dtype=np.uint8, shape=(len(segments), frames, *probe.shape)
    )
    for start in track(range(len(usable), len(segments), _CHUNK), description="decoding", console=console):
        for place in range(start, min(start + _CHUNK, len(segments))):
            try:
                found = [_picture(steps, f) for f in frames_of(segments[place].clip, short_side=short_side)][:frames]
            except WinnowError as error:
                console.print(f"left out: {segments[place].clip.file}: {error}")
                found = []
            for slot in range(frames if found else 0):
                pictures[place, slot] = found[min(slot, len(found) - 1)]
            usable.append(bool(found))
        pictures.flush()
        state.write_text("".join("1" if each else "0" for each in usable), encoding="utf-8")
    if not any(usable):
        raise ValueError("not one of the videos can be decoded")
    return np.load(path, mmap_mode="r"), np.array(usable)


def _picture(steps: Sequence[Any], frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(reduce(lambda made, step: step(made), steps, Image.fromarray(frame)))


def _digest(segments: Sequence[Segment], steps: Sequence[Any], frames: int, short_side: int) -> str:
    digest = hashlib.sha256(repr((steps, frames, short_side)).encode())
    for segment in segments:
        stat = segment.clip.file.stat()
        digest.update(repr((segment.clip, stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]
