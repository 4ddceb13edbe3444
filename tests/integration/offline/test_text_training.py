"""The text head's training: its sentences, its frames, and that it learns where frames lie."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from offline.demo_world.art import Art
from offline.demo_world.scene import WORLD_SIZE
from offline.demo_world.splits import Counts
from offline.demo_world.taxonomy import ISSUES, ROLES
from offline.selection.sentences import SENTENCES
from offline.training.captions import KIND_WORDS, caption
from offline.training.clip_model import WIDTH
from offline.training.head import export_router
from offline.training.text_head import TextHeadRecipe, TrainFrames, fit_text_head, train_text_head
from offline.training.vocabulary import TAGS
from services.encoder.head import HEAD_CONFIG, HeadConfig, TagHead
from services.encoder.open_clip import load_encoder
from services.encoder.text_head import TextHead

COUNTS = Counts(violation=8, look_alike=8, other=4)
TINY = TextHeadRecipe(steps=6, batch=16, hidden=24, counts=COUNTS, captions=1, guilty_captions=3, held_out=5)


@pytest.fixture(scope="module")
def model(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with a head whose space is 16 wide."""
    out = tmp_path_factory.mktemp("text") / "model"
    torch.manual_seed(2)
    export_router(dense, TagHead(WIDTH, HeadConfig(TAGS, 24, 16)), dense.parent / "clip_tokenizer", out)
    return out


@pytest.fixture(scope="module")
def trained(art_folder: Path, model: Path, console: Console) -> TextHead:
    return train_text_head(art_folder, model, TINY, console, workers=0)


@dataclass(frozen=True)
class Toy:
    """Sentences about frames that show one of some concepts each."""

    told: torch.Tensor
    about: torch.Tensor
    vectors: torch.Tensor
    concept: torch.Tensor


def toy(concepts: int, frames: int, captions: int) -> Toy:
    """Frame n shows concept n modulo `concepts`; the same concepts lie at the same places whatever the numbers."""
    words = torch.randn(concepts, 24, generator=torch.Generator().manual_seed(1))
    places = F.normalize(torch.randn(concepts, 12, generator=torch.Generator().manual_seed(2)), dim=-1)
    noise = torch.Generator().manual_seed(frames)
    concept = torch.arange(frames) % concepts
    about = torch.arange(frames).repeat_interleave(captions)
    told = words[concept[about]] + 0.1 * torch.randn(len(about), 24, generator=noise)
    return Toy(
        told, about, F.normalize(places[concept] + 0.1 * torch.randn(frames, 12, generator=noise), dim=-1), concept
    )


def test_it_learns_where_the_frames_lie_that_a_sentence_is_about(console: Console) -> None:
    recipe, shortest = (TextHeadRecipe(steps=steps, batch=64, hidden=32) for steps in (150, 1))
    seen, fresh = toy(concepts=6, frames=240, captions=2), toy(concepts=6, frames=30, captions=1)
    before = fit_text_head(seen.told, seen.about, seen.vectors, shortest, console, encoder="e")
    head = fit_text_head(seen.told, seen.about, seen.vectors, recipe, console, encoder="0123456789abcdef")
    with torch.no_grad():
        assert float((before(fresh.told) * fresh.vectors).sum(dim=1).mean()) < 0.5
        assert float((head(fresh.told) * fresh.vectors).sum(dim=1).mean()) > 0.8
        nearest = seen.concept[(head(fresh.told) @ seen.vectors.T).argmax(dim=1)]
    assert torch.equal(nearest, fresh.concept)
    assert (head.config.encoder, head.config.width, head.config.dim) == ("0123456789abcdef", 24, 12)
    assert not head.training


def test_the_same_seed_gives_the_same_head_and_another_one_another(console: Console) -> None:
    seen = toy(concepts=4, frames=40, captions=1)

    def weights(seed: int) -> torch.Tensor:
        torch.rand(seed + 3)  # what else drew random numbers does not matter
        recipe = TextHeadRecipe(steps=5, batch=16, hidden=8, seed=seed)
        return fit_text_head(seen.told, seen.about, seen.vectors, recipe, console, encoder="e").norm.weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_sentences_about_held_out_frames_are_not_learnt_from(console: Console) -> None:
    seen = toy(concepts=4, frames=20, captions=3)
    recipe = TextHeadRecipe(steps=5, batch=16, hidden=8, held_out=5)
    kept = seen.about % 5 == 0

    def weights(changed: torch.Tensor) -> torch.Tensor:
        told = torch.where(changed[:, None], seen.told.flip(1), seen.told)
        return fit_text_head(told, seen.about, seen.vectors, recipe, console, encoder="e").norm.weight.detach()

    plain = weights(torch.zeros_like(kept))
    assert torch.equal(plain, weights(kept))
    assert not torch.equal(plain, weights(~kept))


def test_a_trained_head_makes_an_encoder_take_sentences(model: Path, trained: TextHead, tmp_path: Path) -> None:
    before = load_encoder(str(model))
    copy = tmp_path / "model"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    trained.save(copy)
    encoder = load_encoder(str(copy))
    assert (before.supports_text, encoder.supports_text) == (False, True)
    assert trained.config.encoder == encoder.fingerprint == before.fingerprint
    assert encoder.embed_texts(["a house on fire"]).shape == (1, 16)


def test_training_again_gives_the_same_weights(
    art_folder: Path, model: Path, trained: TextHead, console: Console
) -> None:
    again = train_text_head(art_folder, model, TINY, console, workers=1)
    for name, weight in trained.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, atol=1e-4, rtol=0)


def test_an_encoder_without_a_head_needs_no_text_head(
    art_folder: Path, model: Path, tmp_path: Path, console: Console
) -> None:
    for path in model.iterdir():
        if path.name != HEAD_CONFIG:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="has no head"):
        train_text_head(art_folder, tmp_path, TINY, console)


def test_frames_are_those_of_the_train_split_one_a_shot(art: Art) -> None:
    frames = TrainFrames(art, COUNTS, seed=7)
    assert len(frames) == COUNTS.total
    violating = [
        any(set(issue.members(issue.a)) & set(names) and set(issue.members(issue.b)) & set(names) for issue in ISSUES)
        for place in range(COUNTS.violation)
        for _, names in frames[place]
    ]
    assert sum(violating) >= COUNTS.violation
    pixels, _ = frames[0][0]
    assert pixels.shape == (WORLD_SIZE, WORLD_SIZE, 3)
    assert np.array_equal(pixels, TrainFrames(art, COUNTS, seed=7)[0][0][0])
    assert not np.array_equal(pixels, TrainFrames(art, COUNTS, seed=8)[0][0][0])


def test_a_sentence_names_things_of_its_frame_alone() -> None:
    rng = np.random.default_rng(0)
    told = " ".join(caption(("hocho", "rainbow", "girl"), rng) for _ in range(300))
    for word in ("hocho", "kitchen knife", "weapon", "girl", "minor", "rainbow", " and ", " with ", "a picture of"):
        assert word in told
    for word in ("man", "dog", "fire", "adult"):
        assert f" {word}" not in told
    parts = [caption(("hocho", "rainbow"), rng) for _ in range(200)]
    assert sum("rainbow" in each for each in parts) < 60, "people write about what matters"
    assert "rainbow" in caption(("rainbow",), rng)


def test_every_role_has_words_and_every_issue_four_sentences() -> None:
    assert set(KIND_WORDS) == set(ROLES)
    assert all(KIND_WORDS.values())
    assert set(SENTENCES) == {issue.id for issue in ISSUES}
    assert all(len(set(sentences)) == 4 for sentences in SENTENCES.values())
