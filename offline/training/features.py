"""A cache of training videos' patch features: the frozen tower sees a frame once, the language model many times."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from offline.demo_world.art import TRAINING_STYLES, Art
from offline.demo_world.render import draw_labelled
from offline.demo_world.scene import WORLD_SIZE, Kind, Pools, Scene, compose
from offline.demo_world.taxonomy import violated
from offline.training.augment import augment
from offline.training.clip_model import GRID, IMAGE_SIZE
from offline.training.dense import normalise
from offline.training.vocabulary import Classes

FRAMES = 4
SAMPLED = 8  # frames that the router samples; the ranker is sent FRAMES of them
MIX: tuple[tuple[Kind, float], ...] = (("violation", 0.45), ("look_alike", 0.4), ("other", 0.15))


@dataclass(frozen=True)
class TrainingVideo:
    """Truth of one training video: names in each frame, issues violated, title."""

    frames: tuple[tuple[str, ...], ...]
    issues: tuple[str, ...]
    title: str


def scene_of(index: int, seed: int, pools: Pools) -> tuple[Scene, np.random.Generator]:
    """The training scene with this index, and the generator to go on with."""
    rng = np.random.default_rng([seed, index])
    kinds, shares = zip(*MIX, strict=True)
    kind = kinds[int(rng.choice(len(kinds), p=shares))]
    return compose(rng, pools, video_id=f"train-{index:06d}", kind=kind, styles=TRAINING_STYLES), rng


class TrainingFrames(Dataset[dict[str, Any]]):
    """Frames [FRAMES, size, size, 3] of a training video and the word class under every patch [FRAMES, patches]."""

    def __init__(self, art: Art, classes: Classes, count: int, seed: int) -> None:
        self._art, self._classes, self._count, self._seed = art, classes, count, seed
        self._pools = Pools(art.neutral, art.others)

    def __len__(self) -> int:
        return self._count

    def truth(self, index: int) -> TrainingVideo:
        """What one video's frames show, without drawing them."""
        scene, rng = scene_of(index, self._seed, self._pools)
        shots = [scene.shot_at(t) for t in _times(scene, rng)]
        return TrainingVideo(tuple(tuple(sorted(s.names)) for s in shots), scene.issues, scene.title)

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene, rng = scene_of(index, self._seed, self._pools)
        frames, words = [], []
        for time_s in _times(scene, rng):
            shot = scene.shot_at(time_s)
            frame, under = draw_labelled(shot, scene.style, time_s, self._art, size=WORLD_SIZE, grid=GRID)
            index_of = np.array([self._classes.of[s.name] for s in shot.sprites] + [self._classes.background])
            frames.append(augment(frame, rng, size=IMAGE_SIZE))
            words.append(index_of[under].reshape(-1))
        return {"pixels": torch.from_numpy(np.stack(frames)), "words": torch.from_numpy(np.stack(words)).short()}


def _times(scene: Scene, rng: np.random.Generator) -> list[float]:
    """FRAMES of the SAMPLED uniform times, in order. Where the video violates, one shows it, as the router sees to."""
    middle = (np.arange(SAMPLED) + 0.5) / SAMPLED * scene.duration_s
    chosen = sorted(float(t) for t in rng.choice(middle, size=FRAMES, replace=False))
    guilty = [t for t in middle if scene.issues and _shows(scene, float(t))]
    if guilty and not any(_shows(scene, t) for t in chosen):
        chosen[int(rng.integers(FRAMES))] = float(guilty[int(rng.integers(len(guilty)))])
        chosen.sort()
    return chosen


def _shows(scene: Scene, time_s: float) -> bool:
    return bool(violated((scene.shot_at(time_s).names,)))


def cache_features(
    clip: Any, art: Art, classes: Classes, folder: Path, *, count: int, seed: int, console: Console
) -> tuple[np.ndarray, np.ndarray]:
    """Features float16 [count, FRAMES, patches, width] (last block, before ln_post) and words int16 [count, FRAMES,
    patches], as memory maps in `folder`; computed once."""
    name = f"{tower_hash(clip)}-{seed}-{count}"  # another tower, another cache
    features_path, words_path = folder / f"features-{name}.npy", folder / f"words-{name}.npy"
    if not words_path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        patches, width = GRID * GRID, clip.visual.ln_post.weight.shape[0]
        shape = (count, FRAMES, patches, width)
        features = np.lib.format.open_memmap(features_path, mode="w+", dtype=np.float16, shape=shape)
        words = np.zeros((count, FRAMES, patches), dtype=np.int16)
        clip.eval()
        loader = DataLoader(TrainingFrames(art, classes, count, seed), batch_size=32, num_workers=1)
        done = 0
        for batch in loader:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                tokens = last_block(clip, normalise(batch["pixels"].flatten(0, 1)))
            size = len(batch["pixels"])
            features[done : done + size] = (
                tokens.float().numpy().reshape(size, FRAMES, patches, width).astype(np.float16)
            )
            words[done : done + size] = batch["words"].numpy()
            done += size
            if done % 3200 == 0:
                console.print(f"features: {done} of {count} videos")
        features.flush()
        np.save(words_path.with_suffix(".part.npy"), words)
        words_path.with_suffix(".part.npy").replace(words_path)
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
