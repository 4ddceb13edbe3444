"""Training videos of the demo world: a few frames of each with the word under every patch, and their truth.

Half of them are drawn as the demo world draws, the other half by the painter of dense training: other artists,
colours, strokes, backdrops and aspects. One video keeps its artist, aspect and camera, one shot its backdrop and
colours.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from offline.demo_world.art import TRAINING_STYLES, WORLD_STYLES, Art
from offline.demo_world.render import draw_labelled
from offline.demo_world.scene import WORLD_SIZE, Kind, Pools, Scene, Shot, compose
from offline.demo_world.taxonomy import violated
from offline.training.augment import augment
from offline.training.clip_model import GRID, IMAGE_SIZE
from offline.training.pictures import Painter
from offline.training.vocabulary import Classes

FRAMES = 4
SAMPLED = 8  # frames that the router samples; the ranker is sent FRAMES of them
MIX: tuple[tuple[Kind, float], ...] = (("violation", 0.45), ("look_alike", 0.4), ("other", 0.15))
PAINTED = 0.5
"""Share of the videos that the painter draws."""
_ONE_ARTIST = 0.8
"""Share of the painted videos in which one artist draws all that he can; in the others each sprite has its own."""
_LOOK, _CAMERA, _PAINT = 1, 2, 3
"""Streams of random numbers of a video: how it looks, what its camera did, and its shots' paint."""


@dataclass(frozen=True)
class TrainingVideo:
    """Truth of one training video: names in each frame, issues violated, title; issues that a router sent it on for."""

    frames: tuple[tuple[str, ...], ...]
    issues: tuple[str, ...]
    title: str
    sent_on: tuple[str, ...] = ()


Drawn = tuple[np.ndarray, np.ndarray, tuple[str, ...]]
"""A frame uint8 [IMAGE_SIZE, IMAGE_SIZE, 3], the index of the name under every patch [GRID, GRID] (-1 for none), and
the names."""


def scene_of(index: int, seed: int, pools: Pools) -> tuple[Scene, np.random.Generator]:
    """The training scene with this index, and the generator to go on with."""
    rng = np.random.default_rng([seed, index])
    kinds, shares = zip(*MIX, strict=True)
    kind = kinds[int(rng.choice(len(kinds), p=shares))]
    return compose(rng, pools, video_id=f"train-{index:06d}", kind=kind, styles=WORLD_STYLES), rng


class TrainingFrames(Dataset[dict[str, Any]]):
    """Pixels uint8 [frames, size, size, 3] of a training video and the word class under every patch [frames, patches].

    Args:
        art: with as many of TRAINING_STYLES as there are; the painter uses those.
        classes: word classes.
        count: number of videos.
        seed: of the videos; another seed gives others.
        frames: of each video, at most SAMPLED.
    """

    def __init__(self, art: Art, classes: Classes, count: int, seed: int, frames: int = FRAMES) -> None:
        self._art, self._classes, self._count, self._seed, self._frames = art, classes, count, seed, frames
        self._pools = Pools(art.neutral, art.others)
        self._painter = Painter(art, GRID)

    def __len__(self) -> int:
        return self._count

    def truth(self, index: int) -> TrainingVideo:
        """What one video's frames show, without drawing them."""
        scene, rng = scene_of(index, self._seed, self._pools)
        shots = [scene.shot_at(t) for t in _times(scene, rng, self._frames)]
        return TrainingVideo(tuple(tuple(sorted(s.names)) for s in shots), scene.issues, scene.title)

    def painted(self, index: int) -> bool:
        """Whether the painter draws a video."""
        return bool(self._stream(index, _LOOK).random() < PAINTED)

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene, rng = scene_of(index, self._seed, self._pools)
        drawer = self._brush(index, scene) if self.painted(index) else self._world(index, scene)
        frames, words = [], []
        for time_s in _times(scene, rng, self._frames):
            frame, under, names = drawer(time_s)
            index_of = np.array([self._classes.of[name] for name in names] + [self._classes.background])
            frames.append(frame)
            words.append(index_of[under].reshape(-1))
        return {"pixels": torch.from_numpy(np.stack(frames)), "words": torch.from_numpy(np.stack(words)).short()}

    def _stream(self, index: int, *which: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, index, *which])

    def _world(self, index: int, scene: Scene) -> Callable[[float], Drawn]:
        """As the demo world draws and a codec leaves it."""
        quality = int(self._stream(index, _CAMERA).integers(25, 96))

        def draw(time_s: float) -> Drawn:
            shot = scene.shot_at(time_s)
            frame, under = draw_labelled(shot, scene.style, time_s, self._art, size=WORLD_SIZE, grid=GRID)
            return _compressed(frame, quality), under, tuple(s.name for s in shot.sprites)

        return draw

    def _brush(self, index: int, scene: Scene) -> Callable[[float], Drawn]:
        """Painted, and through a camera."""
        look = self._stream(index, _LOOK, 0)
        one_artist = look.random() < _ONE_ARTIST
        style = TRAINING_STYLES[int(look.integers(len(TRAINING_STYLES)))] if one_artist else None
        stretch = np.ones(2)
        if look.random() < 0.35:
            stretch[int(look.integers(2))] = look.uniform(0.55, 1.0)

        def draw(time_s: float) -> Drawn:
            shot = scene.shot_at(time_s)
            # The same numbers for each frame of a shot: its paint stays, its sprites move.
            rng = self._stream(index, _PAINT, scene.shots.index(shot))
            picture = self._painter.draw(rng, shot.sprites, _progress(shot, time_s), style=style, stretch=stretch)
            # And for each frame of the video: it is one camera and one codec.
            frame = augment(picture.pixels, self._stream(index, _CAMERA), size=IMAGE_SIZE)
            return frame, picture.under, picture.names

        return draw


def _compressed(frame: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    image = Image.open(io.BytesIO(buffer.getvalue())).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _progress(shot: Shot, time_s: float) -> float:
    return float(np.clip((time_s - shot.start_s) / max(shot.end_s - shot.start_s, 1e-6), 0.0, 1.0))


def _times(scene: Scene, rng: np.random.Generator, frames: int) -> list[float]:
    """Some of the SAMPLED uniform times, in order. Where the video violates, one shows it, as the router sees to."""
    middle = (np.arange(SAMPLED) + 0.5) / SAMPLED * scene.duration_s
    chosen = sorted(float(t) for t in rng.choice(middle, size=frames, replace=False))
    guilty = [t for t in middle if scene.issues and _shows(scene, float(t))]
    if guilty and not any(_shows(scene, t) for t in chosen):
        chosen[int(rng.integers(frames))] = float(guilty[int(rng.integers(len(guilty)))])
        chosen.sort()
    return chosen


def _shows(scene: Scene, time_s: float) -> bool:
    return bool(violated((scene.shot_at(time_s).names,)))
