"""A cache of training videos' patch features: the frozen tower sees a frame once, heads and language models many times.

Written in chunks: a run that was stopped goes on where it was.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from rich.console import Console
from torch.utils.data import DataLoader, Subset

from offline.demo_world.art import Art
from offline.demo_world.taxonomy import ROLE_OF
from offline.training.clip_model import GRID
from offline.training.dense import normalise
from offline.training.videos import FRAMES, MIX, PAINTED, SAMPLED, TrainingFrames, TrainingVideo, scene_of
from offline.training.vocabulary import Classes

__all__ = [
    "FRAMES", "MIX", "SAMPLED", "TrainingFrames", "TrainingVideo", "cache_features", "cache_name", "last_block",
    "scene_of", "tower_hash",
]  # fmt: skip

_BATCH = 32
_CHUNK = 20
"""Batches after which the state is written down."""
_DRAWING = 2
"""Raise it where training videos are drawn in another way: caches of the old way are not used then."""


def cache_name(clip: Any, art: Art, *, count: int, seed: int, frames: int = FRAMES) -> str:
    """What the files of a cache are called: it tells towers, styles, numbers and ways of drawing apart."""
    styles = sorted({style for name in ROLE_OF for style in art.styles_of(name)})
    drawing = hashlib.sha256(repr((_DRAWING, styles, MIX, PAINTED)).encode()).hexdigest()[:4]
    return f"{tower_hash(clip)}-{drawing}-{seed}-{count}x{frames}"


def cache_features(
    clip: Any,
    art: Art,
    classes: Classes,
    folder: Path,
    *,
    count: int,
    seed: int,
    console: Console,
    frames: int = FRAMES,
    workers: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Features float16 [count, frames, patches, width] (last block, before ln_post) and words int16 [count, frames,
    patches], as memory maps in `folder`; computed once, by `workers` processes that draw and one that embeds.

    Training and held-out videos differ in their seed alone.
    """
    name = cache_name(clip, art, count=count, seed=seed, frames=frames)
    features_path, words_path = folder / f"features-{name}.npy", folder / f"words-{name}.npy"
    if not words_path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shape = (count, frames, GRID * GRID, clip.visual.ln_post.weight.shape[0])
        part, state = words_path.with_suffix(".part.npy"), words_path.with_suffix(".done")
        begun = state.exists() and part.exists() and features_path.exists()
        done = int(state.read_text(encoding="utf-8")) if begun else 0
        mode = "r+" if begun else "w+"
        features = np.lib.format.open_memmap(features_path, mode=mode, dtype=np.float16, shape=shape)
        words = np.lib.format.open_memmap(part, mode=mode, dtype=np.int16, shape=shape[:3])
        rest = Subset(TrainingFrames(art, classes, count, seed, frames), range(done, count))
        clip.eval()
        for number, batch in enumerate(
            DataLoader(rest, batch_size=_BATCH, num_workers=min(workers, cpu_count())), start=1
        ):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                tokens = last_block(clip, normalise(batch["pixels"].flatten(0, 1)))
            size = len(batch["pixels"])
            features[done : done + size] = tokens.float().numpy().reshape(size, *shape[1:]).astype(np.float16)
            words[done : done + size] = batch["words"].numpy()
            done += size
            if number % _CHUNK == 0 or done == count:
                features.flush()
                words.flush()
                state.write_text(f"{done}\n", encoding="utf-8")
                console.print(f"features: {done} of {count} videos")
        del words
        part.replace(words_path)
        state.unlink(missing_ok=True)
    return np.load(features_path, mmap_mode="r"), np.load(words_path)


def tower_hash(clip: Any) -> str:
    """Eight hex digits over the weights of an open_clip model's image tower."""
    digest = hashlib.sha256()
    for name, tensor in sorted(clip.visual.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


def last_block(clip: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Patch tokens [n, patches, width] of the last block before the final normalisation: what LLaVA reads."""
    out = clip.visual.forward_intermediates(pixels, indices=1, intermediates_only=True, output_fmt="NLC")
    tokens: torch.Tensor = out["image_intermediates"][-1]
    return tokens
