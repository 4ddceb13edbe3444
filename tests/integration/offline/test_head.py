"""The head, and the directory that the router loads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from offline.demo_world.art import WORLD_STYLES
from offline.demo_world.taxonomy import ISSUES
from offline.training.clip_model import IMAGE_SIZE, load_training_checkpoint
from offline.training.contrast import Objective, contrast
from offline.training.dense import normalise
from offline.training.features import last_block
from offline.training.head import HeadRecipe, export_router, frame_labels, train_head
from offline.training.vocabulary import TAGS
from services.encoder import TextUnsupported
from services.encoder.head import HeadConfig, TagHead
from services.encoder.open_clip import load_encoder

TINY = HeadRecipe(steps=4, batch=64, hidden=32, dim=16, videos=60, held_out=20, styles=WORLD_STYLES)


def clusters(*rows: tuple[float, float]) -> torch.Tensor:
    return F.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


def one_hot(*labels: int) -> torch.Tensor:
    """bool [n, 4]; -1 has no label."""
    return torch.tensor([[label == column for column in range(4)] for label in labels])


def test_contrast_prefers_neighbours_of_the_same_label() -> None:
    z = clusters((1, 0), (1, 0.1), (0, 1), (0.1, 1))
    near = contrast(z, one_hot(0, 0, 1, 1), 0.1)
    far = contrast(z, one_hot(0, 1, 0, 1), 0.1)
    assert near < 0.1 < 1.0 < far


def test_contrast_by_hand() -> None:
    # Two that are one, and one at a right angle: -log(e^10 / (e^10 + e^0)) for each of the two anchors.
    z = clusters((1, 0), (1, 0), (0, 1))
    expected = float(np.log1p(np.exp(-10)))
    assert float(contrast(z, one_hot(3, 3, -1), 0.1)) == pytest.approx(expected, abs=1e-6)


def test_a_look_alike_counts_for_several_negatives_of_its_issue_alone() -> None:
    z = clusters((1, 0), (1, 0), (1, 0))
    hard = one_hot(-1, -1, 3)
    own, other = one_hot(3, 3, -1), one_hot(2, 2, -1)
    # One positive and one negative, all alike: the share of the positive is 1 / 2, with a weight of three 1 / 4.
    assert float(contrast(z, own, 0.1, hard=hard)) == pytest.approx(np.log(2), abs=1e-5)
    assert float(contrast(z, own, 0.1, hard=hard, hard_weight=3)) == pytest.approx(np.log(4), abs=1e-5)
    assert float(contrast(z, other, 0.1, hard=hard, hard_weight=3)) == pytest.approx(np.log(2), abs=1e-5)


def test_frames_with_two_labels_are_positives_of_both() -> None:
    z = clusters((1, 0), (0, 1), (1, 1))
    both = torch.tensor([[True, False], [False, True], [True, True]])
    one = np.log(1 + np.exp(0.5**0.5)) - 0.5**0.5  # each of the first two, whose only positive is the third
    assert float(contrast(z, both, 1.0)) == pytest.approx((2 * one + np.log(2)) / 3, abs=1e-5)


def test_a_batch_without_positives_teaches_the_contrast_nothing() -> None:
    z = clusters((1, 0), (0, 1)).requires_grad_()
    loss = contrast(z, one_hot(0, 1), 0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert z.grad is not None


def test_clean_frames_are_negatives_and_never_anchors() -> None:
    label = one_hot(0, 0, -1, -1)
    apart = contrast(clusters((1, 0), (1, 0.1), (0, 1), (0, 1)), label, 0.1)
    close = contrast(clusters((1, 0), (1, 0.1), (1, 0.05), (0, 1)), label, 0.1)
    assert close > apart + 0.5
    # That the two clean ones are alike, or not, is nobody's business.
    unlike = contrast(clusters((1, 0), (1, 0.1), (0, 1), (0, -1)), label, 0.1)
    assert float(unlike) == pytest.approx(float(apart), abs=1e-3)


def test_a_label_that_stands_alone_is_no_anchor() -> None:
    z = clusters((1, 0), (1, 0.1), (0, 1))
    alone = contrast(z, one_hot(0, 0, 1), 0.1)
    assert torch.isfinite(alone)
    assert alone == contrast(z, one_hot(0, 0, -1), 0.1)


def test_learning_the_objective_sorts_the_labels() -> None:
    torch.manual_seed(0)
    free = torch.nn.Parameter(torch.randn(24, 4))
    label = torch.arange(24) % 3 - 1
    objective = Objective(4, 4)
    optimizer = torch.optim.Adam([free, *objective.parameters()], lr=0.05)
    for _ in range(120):
        optimizer.zero_grad()
        z = F.normalize(free, dim=-1)
        objective(z, one_hot(*label.tolist()), torch.zeros(24, 4, dtype=torch.bool)).backward()
        optimizer.step()
    z = F.normalize(free.detach(), dim=-1)
    similar = (z @ z.T).fill_diagonal_(-2)
    nearest = label[similar.argmax(dim=1)]
    assert torch.equal(nearest[label >= 0], label[label >= 0])
    best = objective.similarities(z).argmax(dim=1)
    assert torch.equal(best[label >= 0], label[label >= 0]), "and the proxies name them"


def test_labels_of_frames_are_those_of_the_taxonomy() -> None:
    order = [issue.id for issue in ISSUES]
    own, like = frame_labels([("hocho", "cat"), ("hocho",), ("cat", "child", "beer"), ("umbrella",)])

    def told(table: torch.Tensor) -> list[set[str]]:
        return [{order[i] for i in row.nonzero().flatten().tolist()} for row in table]

    assert told(own) == [{"animal_cruelty"}, set(), {"underage_drinking"}, set()]
    assert told(like)[:2] == [{"weapon_threat"}, {"weapon_threat", "animal_cruelty"}]
    assert "underage_drinking" not in told(like)[2]
    assert not told(like)[3]


@pytest.fixture(scope="module")
def head(art_folder: Path, dense: Path, tmp_path_factory: pytest.TempPathFactory, console: Console) -> TagHead:
    return train_head(art_folder, dense, tmp_path_factory.mktemp("features"), TINY, console)


@pytest.fixture(scope="module")
def exported_router(dense: Path, head: TagHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("router") / "demo"
    export_router(dense, head, dense.parent / "clip_tokenizer", out)
    return out


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


def test_the_head_starts_from_the_dense_tags_and_learns(dense: Path, head: TagHead) -> None:
    _, state = load_training_checkpoint(dense)
    assert head.config == HeadConfig(TAGS, TINY.hidden, TINY.dim)
    moved = (head.tag.weight - state["dense"]["tags.weight"]).abs().max()
    assert 0 < moved < 0.02, "a few small steps away from where it started"
    assert not head.training


def test_the_router_loads_it_and_gives_unit_vectors(exported_router: Path, pictures: np.ndarray) -> None:
    encoder = load_encoder(str(exported_router))
    vectors = encoder.embed_images(list(pictures))
    assert vectors.shape == (3, encoder.dim) == (3, TINY.dim)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert encoder.input_size == IMAGE_SIZE
    assert len(encoder.fingerprint) == 16
    wide = np.concatenate([pictures[0], pictures[1]], axis=1)
    assert np.linalg.norm(encoder.embed_images([wide])) == pytest.approx(1, abs=1e-5)
    with pytest.raises(TextUnsupported):
        encoder.embed_texts(["a picture of fire"])


@torch.no_grad()
def test_served_vectors_are_those_of_training(
    exported_router: Path, dense: Path, head: TagHead, pictures: np.ndarray
) -> None:
    clip, _ = load_training_checkpoint(dense)
    tokens = last_block(clip.eval(), normalise(torch.from_numpy(pictures)))
    trained = head(clip.visual.ln_post(tokens)).numpy()
    served = load_encoder(str(exported_router)).embed_images(list(pictures))
    assert np.abs(served - trained).max() < 0.01, "what float16 rounds away, and no more"


def test_the_directory_works_as_a_plain_clip_too(exported_router: Path, tmp_path: Path) -> None:
    """Without the head it is an open_clip model with a text tower and a tokenizer of its own."""
    plain = tmp_path / "plain"
    plain.mkdir()
    for path in exported_router.iterdir():
        if not path.name.startswith("head."):
            (plain / path.name).write_bytes(path.read_bytes())
    encoder: Any = load_encoder(str(plain))
    assert encoder.embed_images([np.zeros((40, 60, 3), np.uint8)]).shape == (1, 128)
    texts = encoder.embed_texts(["a picture of fire", "a picture of a dog and a cat"])
    assert texts.shape == (2, 128)
    assert np.linalg.norm(texts, axis=1) == pytest.approx(np.ones(2), abs=1e-5)
    assert not np.allclose(texts[0], texts[1])
