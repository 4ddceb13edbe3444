"""Both trainings, for a few steps each, from nothing and from where they stopped."""

import io
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForImageTextToText

from offline.demo_world.art import WORLD_STYLES, Art
from offline.demo_world.taxonomy import violated
from offline.training import ranker
from offline.training.augment import augment
from offline.training.clip_model import GRID, IMAGE_SIZE, WIDTH, load_training_checkpoint
from offline.training.convert import vision_state
from offline.training.dense import DenseModel, DenseRecipe, normalise, train_dense
from offline.training.dense_pictures import CAPTION_TOKENS, DensePictures
from offline.training.features import FRAMES, TrainingFrames, cache_features, cache_name, last_block, tower_hash
from offline.training.ranker import export_ranker, train_ranker
from offline.training.ranker_model import build, tokenizer
from offline.training.ranker_recipe import RankerRecipe
from offline.training.vocabulary import TAGS, Classes, clip_tokenizer
from services.policy import default_policy_path, load_policy
from tests.integration.offline.conftest import TINY_DENSE

PATCHES = GRID * GRID
RECIPE = RankerRecipe(minutes=0.02, videos=6, batch=2, styles=WORLD_STYLES)
# Python 3.12 warns where a DataLoader forks its worker beside torch's threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def load(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


@pytest.fixture(scope="module")
def pictures(art: Art, classes: Classes, tmp_path_factory: pytest.TempPathFactory) -> DensePictures:
    return DensePictures(art, classes, clip_tokenizer(art, tmp_path_factory.mktemp("tokenizer")), 3)


def test_labelled_pictures(pictures: DensePictures, classes: Classes) -> None:
    index = {name: classes.of[name] for name in classes.tag_of}
    tag_of_class = {index[name]: tag for name, tag in classes.tag_of.items()}
    sprites = 0
    for one in islice(pictures, 12):
        assert one["pixels"].shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        assert one["pixels"].dtype == torch.uint8
        assert one["words"].shape == one["tags"].shape == (PATCHES,)
        assert one["caption"].shape == (CAPTION_TOKENS,)
        for word, tag in zip(one["words"].tolist(), one["tags"].tolist(), strict=True):
            assert tag == tag_of_class.get(word, len(TAGS))
            sprites += word != classes.background
    assert 0.2 < sprites / (12 * PATCHES) < 0.9


def test_pictures_are_the_same_for_the_same_seed_alone(pictures: DensePictures, art: Art, classes: Classes) -> None:
    def first(stream: DensePictures) -> torch.Tensor:
        pixels: torch.Tensor = next(iter(stream))["pixels"]
        return pixels

    other = DensePictures(art, classes, pictures._tokenizer, 4)
    assert torch.equal(first(pictures), first(pictures))
    assert not torch.equal(first(pictures), first(other))


def test_dense_training_learns_one_batch(pictures: DensePictures, dense: Path) -> None:
    state = load(dense)
    torch.manual_seed(0)
    model = DenseModel(state["config"], len(state["classes"]) + 1)
    rows = list(islice(pictures, 4))
    batch = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss, logits = model.loss(batch, 0.4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert logits.shape == (4, PATCHES, len(state["classes"]) + 1)
    assert losses[-1] < 0.75 * losses[0]


def test_a_dense_checkpoint_holds_what_later_stages_read(dense: Path, classes: Classes) -> None:
    state = load(dense)
    assert state["classes"] == list(classes.names)
    assert state["tags"] == list(TAGS)
    assert state["step"] >= 1
    assert state["spent_s"] >= TINY_DENSE["minutes"] * 60
    assert 0 <= state["accuracy"] <= 1
    clip, again = load_training_checkpoint(dense)
    assert torch.equal(clip.visual.conv1.weight, again["dense"]["clip.visual.conv1.weight"])


def test_dense_training_goes_on_from_its_checkpoint(dense: Path, art_folder: Path, tmp_path: Path) -> None:
    work = tmp_path / "router"
    shutil.copytree(dense.parent, work)
    before = load(work / "dense.pt")
    out = io.StringIO()
    minutes = before["spent_s"] / 60 + 0.005
    after = load(
        train_dense(art_folder, work, replace(DenseRecipe(**TINY_DENSE), minutes=minutes), Console(file=out, width=150))
    )
    assert after["step"] > before["step"]
    assert after["spent_s"] >= minutes * 60
    # AdamW counts its own steps: they go on, so that its moments were restored.
    assert {int(own["step"]) for own in after["optimizer"]["state"].values()} == {after["step"]}
    moved = (after["dense"]["words.weight"] - before["dense"]["words.weight"]).abs().max()
    assert 0 < moved < 0.05
    assert "foreground-patch accuracy" in out.getvalue()
    assert not list(work.glob("*.tmp"))


def test_augmented_frames(pictures: DensePictures) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    made = [augment(frame, np.random.default_rng(seed), size=128) for seed in range(12)]
    assert {one.shape for one in made} == {(128, 128, 3)}
    assert {one.dtype for one in made} == {np.dtype(np.uint8)}
    assert len({one.tobytes() for one in made}) > 8
    assert (made[3] == augment(frame, np.random.default_rng(3), size=128)).all()


def test_the_truth_of_a_training_video_is_what_its_frames_show(art: Art, classes: Classes) -> None:
    videos = TrainingFrames(art, classes, 24, seed=5)
    violations = 0
    for index in range(24):
        truth, shown = videos.truth(index), videos[index]
        assert shown["pixels"].shape == (FRAMES, IMAGE_SIZE, IMAGE_SIZE, 3)
        assert shown["words"].shape == (FRAMES, PATCHES)
        for names, under in zip(truth.frames, shown["words"].tolist(), strict=True):
            assert set(under) <= {classes.of[name] for name in names} | {classes.background}
            assert set(under) > {classes.background}
        assert truth.issues == violated(tuple(frozenset(names) for names in truth.frames)), "a violation shows"
        violations += bool(truth.issues)
    assert 4 <= violations <= 18


def test_features_are_computed_once(art: Art, classes: Classes, dense: Path, tmp_path: Path, console: Console) -> None:
    clip, _ = load_training_checkpoint(dense)
    features, words = cache_features(clip, art, classes, tmp_path, count=3, seed=5, console=console)
    assert features.shape == (3, FRAMES, PATCHES, WIDTH)
    assert (features.dtype, words.dtype) == (np.float16, np.int16)
    video = TrainingFrames(art, classes, 3, 5)[2]
    assert (words[2] == video["words"].numpy()).all()
    with torch.no_grad():
        exact = last_block(clip, normalise(video["pixels"])).numpy()
    spread = exact.std()
    assert np.abs(features[2] - exact).mean() < 0.05 * spread, "bfloat16 rounds, and nothing else differs"
    retrained, _ = load_training_checkpoint(dense)
    with torch.no_grad():
        retrained.visual.conv1.weight.add_(0.01)
    assert tower_hash(retrained) != tower_hash(clip), "features of a tower that has learned on are computed again"
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again, _ = cache_features(clip, art, classes, tmp_path, count=3, seed=5, console=console)
    assert (np.asarray(again) == np.asarray(features)).all()
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps


@pytest.fixture(scope="module")
def features(art: Art, dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature folder that has the held-out videos of the exams already, as noise: drawing 256 videos takes long."""
    folder = tmp_path_factory.mktemp("features")
    shape = (256, FRAMES, PATCHES, WIDTH)
    noise = np.random.default_rng(0).standard_normal((1, FRAMES, PATCHES, WIDTH)).astype(np.float16)
    name = f"{cache_name(load_training_checkpoint(dense)[0], art, count=256, seed=10_007)}.npy"
    np.save(folder / f"features-{name}", np.broadcast_to(noise, shape))
    np.save(folder / f"words-{name}", np.zeros(shape[:3], dtype=np.int16))
    return folder


@pytest.fixture
def short_exams(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ranker._examine
    monkeypatch.setattr(ranker, "_examine", lambda trainer, packs: whole(trainer, packs[:1]))


@pytest.mark.usefixtures("short_exams")
def test_the_ranker_trains_goes_on_and_is_exported(
    art_folder: Path, dense: Path, features: Path, tmp_path: Path, console: Console
) -> None:
    policy = load_policy(default_policy_path())
    work = tmp_path / "ranker"

    def train(minutes: float) -> dict[str, Any]:
        recipe = replace(RECIPE, minutes=minutes)
        return load(train_ranker(art_folder, dense, work, policy, recipe, console, features=features))

    first = train(RECIPE.minutes)
    assert first["step"] >= 1
    assert set(first["scores"]) == {"D1", "D3"}
    assert all(0 <= score <= 1 for score in first["scores"].values())
    second = train(first["spent_s"] / 60 + 0.01)
    assert second["step"] > first["step"]
    assert second["spent_s"] > first["spent_s"]
    # AdamW counts its own steps; the part that only aligns leaves the language model alone.
    assert max(int(own["step"]) for own in second["optimizer"]["state"].values()) == second["step"]
    tower = [name for name in first["model"] if "vision_tower" in name]
    assert tower
    for name in tower:
        assert torch.equal(first["model"][name], second["model"][name]), "the tower is frozen"
    learned = next(name for name in first["model"] if name.endswith("linear_1.weight"))
    assert not torch.equal(first["model"][learned], second["model"][learned])
    export_ranker(work / "ranker.pt", work / "tokenizer", tmp_path / "demo")
    served = AutoModelForImageTextToText.from_pretrained(tmp_path / "demo", dtype=torch.float32)
    for name, tensor in served.state_dict().items():
        assert torch.equal(tensor, second["model"][name].half().float()), name
    assert sorted(path.name.split("-", 3)[3] for path in features.glob("features-*")) == [
        f"10007-256x{FRAMES}.npy", f"11-6x{FRAMES}.npy",
    ]  # fmt: skip


@pytest.mark.usefixtures("short_exams")
def test_a_ranker_goes_on_with_new_eyes(
    art_folder: Path, dense: Path, features: Path, tmp_path: Path, console: Console, art: Art
) -> None:
    policy = load_policy(default_policy_path())
    tokens = tokenizer(art, policy)
    torch.manual_seed(1)
    other = build(load(dense)["config"], tokens)
    start = tmp_path / "start.pt"
    torch.save({"model": other.state_dict()}, start)
    recipe = replace(RECIPE, start=start, minutes=1e-9)
    found = load(train_ranker(art_folder, dense, tmp_path / "ranker", policy, recipe, console, features=features))
    assert found["step"] == 1
    eyes, words = "model.vision_tower.embeddings.patch_embedding.weight", "model.language_model.embed_tokens.weight"
    assert torch.equal(
        found["model"][eyes], vision_state(load(dense)["model"])[eyes.removeprefix("model.vision_tower.")]
    )
    # One step from what the start knew, and not from a new model.
    assert (found["model"][words] - other.state_dict()[words]).abs().max() < 0.01
    torch.save({"model": {**other.state_dict(), words: torch.zeros(3, 4)}}, start)
    with pytest.raises(ValueError, match=r"cannot go on from one whose .*embed_tokens.weight is \(3, 4\)"):
        train_ranker(art_folder, dense, tmp_path / "else", policy, recipe, console, features=features)
