"""Training videos in two manners of drawing, and the cache of their features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from offline.demo_world.art import Art
from offline.demo_world.render import draw
from offline.training import features as cache
from offline.training.clip_model import GRID, IMAGE_SIZE, load_training_checkpoint
from offline.training.features import cache_features, cache_name
from offline.training.videos import FRAMES, TrainingFrames, _times, scene_of
from offline.training.vocabulary import Classes

# Python 3.12 warns where a DataLoader forks its worker beside torch's threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
CELL = IMAGE_SIZE // GRID


@pytest.fixture(scope="module")
def videos(art: Art, classes: Classes) -> TrainingFrames:
    return TrainingFrames(art, classes, 200, seed=5)


def test_half_are_painted_and_each_is_the_same_again(videos: TrainingFrames) -> None:
    assert 70 < sum(videos.painted(i) for i in range(200)) < 130
    assert torch.equal(videos[3]["pixels"], videos[3]["pixels"])
    assert not torch.equal(videos[3]["pixels"], videos[4]["pixels"])


def quiet_cells(words: torch.Tensor, background: int) -> np.ndarray:
    """bool [GRID, GRID]: patches that show nothing in any of the frames, nor do their neighbours."""
    busy = (words.numpy().reshape(-1, GRID, GRID) != background).any(axis=0)
    wide = np.pad(busy, 1)
    around = np.stack([wide[y : y + GRID, x : x + GRID] for y in range(3) for x in range(3)])
    return np.asarray(~around.any(axis=0))


def test_a_shot_keeps_its_paint_and_a_cut_changes_it(videos: TrainingFrames, art: Art, classes: Classes) -> None:
    within: list[float] = []
    across: list[float] = []
    for index in [i for i in range(60) if videos.painted(i)][:16]:
        scene, rng = scene_of(index, 5, videos._pools)
        shots = [scene.shots.index(scene.shot_at(t)) for t in _times(scene, rng, FRAMES)]
        video = videos[index]
        for first in range(FRAMES - 1):
            pair = slice(first, first + 2)
            quiet = np.kron(quiet_cells(video["words"][pair], classes.background), np.ones((CELL, CELL))) > 0
            if quiet.sum() < 4 * CELL * CELL:
                continue
            one, other = (video["pixels"][i].numpy().astype(float)[quiet] for i in (first, first + 1))
            (within if shots[first] == shots[first + 1] else across).append(float(np.abs(one - other).mean()))
    assert len(within) > 5
    assert len(across) > 2
    assert np.median(within) < 6 < 20 < np.median(across)


def test_the_other_half_is_the_demo_world_through_a_codec(videos: TrainingFrames, art: Art) -> None:
    index = next(i for i in range(20) if not videos.painted(i))
    scene, rng = scene_of(index, 5, videos._pools)
    for time_s, frame in zip(_times(scene, rng, FRAMES), videos[index]["pixels"], strict=True):
        exact = draw(scene.shot_at(time_s), scene.style, time_s, art, size=160)
        rough = exact.reshape(32, 5, 32, 5, 3).mean(axis=(1, 3))
        assert np.abs(frame.numpy().reshape(32, 4, 32, 4, 3).mean(axis=(1, 3)) - rough).mean() < 8


def test_a_cache_that_was_stopped_goes_on(
    art: Art, classes: Classes, dense: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, _ = load_training_checkpoint(dense)
    monkeypatch.setattr(cache, "_BATCH", 2)
    monkeypatch.setattr(cache, "_CHUNK", 1)
    sizes: list[int] = []

    def counted(model: object, pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return torch.zeros(len(pixels), GRID * GRID, 192) + len(sizes)

    monkeypatch.setattr(cache, "last_block", counted)

    def run() -> tuple[np.ndarray, np.ndarray]:
        return cache_features(clip, art, classes, tmp_path, count=6, seed=5, console=console, frames=2, workers=0)

    with pytest.raises(KeyboardInterrupt):
        run()
    features, words = run()
    assert sizes == [4, 4, 4, 4], "two batches, one that failed, and the one that was left"
    assert features.shape == (6, 2, GRID * GRID, 192)
    assert features[:, 0, 0, 0].tolist() == [1, 1, 2, 2, 4, 4]
    source = TrainingFrames(art, classes, 6, 5, frames=2)
    assert all((words[i] == source[i]["words"].numpy()).all() for i in range(6))
    assert not list(tmp_path.glob("*.done"))
    assert not list(tmp_path.glob("*.part.npy"))


def test_caches_that_differ_have_other_names(art: Art, dense: Path) -> None:
    clip, _ = load_training_checkpoint(dense)
    names = {
        cache_name(clip, art, count=6, seed=5),
        cache_name(clip, art, count=7, seed=5),
        cache_name(clip, art, count=6, seed=6),
        cache_name(clip, art, count=6, seed=5, frames=3),
    }
    with torch.no_grad():
        clip.visual.conv1.weight.add_(0.01)
    assert len(names | {cache_name(clip, art, count=6, seed=5)}) == 5
