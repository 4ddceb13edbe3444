"""What a tower inherits from a smaller one, and pictures that are shown again."""

from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offline.demo_world.art import Art
from offline.training import dense_pictures
from offline.training.clip_model import model_config
from offline.training.dense import DenseModel, inherit
from offline.training.dense_pictures import DensePictures, in_another_light, mirrored
from offline.training.pictures import Picture
from offline.training.vocabulary import Classes, clip_tokenizer

PIXELS = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def model(classes: Classes, *, layers: int, seed: int) -> DenseModel:
    torch.manual_seed(seed)
    return DenseModel(model_config(1280, pad_id=0, eos_id=2, layers=layers), len(classes.names) + 1).eval()


@torch.no_grad()
def word_logits(of: DenseModel) -> torch.Tensor:
    words = torch.zeros(2, 64, dtype=torch.long)
    _, logits = of.loss({"pixels": PIXELS, "words": words, "tags": words}, 0.0)
    return logits


def test_a_deeper_tower_begins_where_the_smaller_one_was(classes: Classes) -> None:
    small, deep = model(classes, layers=2, seed=1), model(classes, layers=4, seed=2)
    state: dict[str, Any] = {"dense": small.state_dict(), "classes": list(classes.names)}
    assert not torch.allclose(word_logits(deep), word_logits(small), atol=1e-2)
    inherit(deep, state, classes)
    torch.testing.assert_close(word_logits(deep), word_logits(small), atol=1e-5, rtol=1e-5)


def test_classes_are_inherited_by_name(classes: Classes) -> None:
    small, deep = model(classes, layers=2, seed=1), model(classes, layers=2, seed=2)
    fresh = deep.words.weight.detach().clone()
    names = [*reversed(classes.names[1:]), "gone"]
    inherit(deep, {"dense": small.state_dict(), "classes": names}, classes)
    assert torch.equal(deep.words.weight[0], fresh[0]), "nobody knew it"
    for index, name in enumerate(classes.names[1:], start=1):
        assert torch.equal(deep.words.weight[index], small.words.weight[names.index(name)])
    assert torch.equal(deep.words.weight[-1], small.words.weight[len(names)]), "the background is last in both"


def test_a_tower_of_other_dimensions_is_refused(classes: Classes) -> None:
    small = model(classes, layers=2, seed=1)
    state = small.state_dict()
    state["clip.visual.conv1.weight"] = state["clip.visual.conv1.weight"][:64]
    with pytest.raises(ValueError, match=r"conv1\.weight is \(64, 3, 16, 16\)"):
        inherit(model(classes, layers=2, seed=2), {"dense": state, "classes": list(classes.names)}, classes)


def test_kin_of_a_role_teach_its_tag_nothing(classes: Classes) -> None:
    torch.manual_seed(0)
    taught = DenseModel(
        model_config(1280, pad_id=0, eos_id=2, layers=1),
        len(classes.names) + 1,
        np.ones((len(classes.names) + 1, 20), dtype=bool),
    )
    words = torch.zeros(2, 64, dtype=torch.long)
    loss, _ = taught.loss({"pixels": PIXELS, "words": words, "tags": words}, 0.0)
    loss.backward()
    assert not taught.tags.weight.grad.any()
    assert taught.words.weight.grad.any()


def test_mirrored_pictures_keep_their_labels(art: Art, classes: Classes, tmp_path: Path) -> None:
    row = next(iter(DensePictures(art, classes, clip_tokenizer(art, tmp_path), 3)))
    turned = mirrored(row)
    for name in ("words", "tags"):
        for y, x in product(range(8), range(8)):
            assert turned[name][8 * y + x] == row[name][8 * y + 7 - x]
    assert torch.equal(turned["pixels"][:, 0], row["pixels"][:, -1])
    assert torch.equal(turned["caption"], row["caption"])


def test_another_light_is_little() -> None:
    row = {"pixels": torch.full((4, 4, 3), 100, dtype=torch.uint8)}
    means = [
        in_another_light(row, np.random.default_rng(seed))["pixels"].float().mean((0, 1)).tolist() for seed in range(40)
    ]
    assert all(60 < value < 140 for colour in means for value in colour)
    assert len({round(colour[0] / colour[1], 2) for colour in means}) > 5
    bright = in_another_light({"pixels": torch.full((4, 4, 3), 250, dtype=torch.uint8)}, np.random.default_rng(1))
    assert bright["pixels"].min() > 150, "it does not wrap around"


def test_pictures_are_shown_again_and_never_alike(
    art: Art, classes: Classes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_pictures, "SHELF", 4)
    drawn = 0
    tokenizer = clip_tokenizer(art, tmp_path)
    stream = DensePictures(art, classes, tokenizer, 3, repeats=5)
    paint = stream._painter.picture

    def counted(rng: np.random.Generator) -> Picture:
        nonlocal drawn
        drawn += 1
        return paint(rng)

    monkeypatch.setattr(stream._painter, "picture", counted)
    shown = list(islice(stream, 54))
    assert 5 <= drawn <= 24, "ten of fifty, and the first four"
    assert len({row["pixels"].numpy().tobytes() for row in shown}) == 54
    captions = {tuple(row["caption"].tolist()) for row in shown}
    assert len(captions) <= drawn
