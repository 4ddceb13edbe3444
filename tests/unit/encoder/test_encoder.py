"""Encoders: a tiny random CLIP in a directory, with and without head, and the model-free one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.encoder import HashEncoder, TextUnsupported
from services.encoder.open_clip import load_encoder, patch_tokens
from tests.media_factory import BLUE, RED, counting, flat
from tests.unit.encoder.tiny import TAGS, write_tiny_clip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("headed"), head=True)


def frames(count: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (40 + i, 70, 3), dtype=np.uint8) for i in range(count)]


def test_plain_clip(plain: Path) -> None:
    encoder = load_encoder(str(plain))
    assert (encoder.dim, encoder.input_size, encoder.supports_text) == (24, 32, True)
    vectors = encoder.embed_images(frames())
    assert vectors.shape == (5, 24)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(vectors[2:3], encoder.embed_images(frames()[2:3]), atol=1e-4)
    texts = encoder.embed_texts(["a knife", "a person"])
    assert texts.shape == (2, 24)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1.0, atol=1e-5)
    assert encoder.embed_images([]).shape == encoder.embed_texts([]).shape == (0, 24)


def test_head(headed: Path) -> None:
    encoder = load_encoder(f"local-dir:{headed}")
    assert (encoder.dim, encoder.supports_text) == (12, False)
    vectors = encoder.embed_images(frames())
    assert vectors.shape == (5, 12)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    with pytest.raises(TextUnsupported):
        encoder.embed_texts(["a knife"])


def test_patch_tokens_are_the_towers_own(plain: Path) -> None:
    import open_clip
    import torch

    model = open_clip.create_model(f"local-dir:{plain}").eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        tokens = patch_tokens(model.visual, images)
        model.visual.output_tokens = True
        _, expected = model.visual(images)
    assert tokens.shape == (2, 16, 32)
    torch.testing.assert_close(tokens, expected)


def test_tag_logits_are_the_maximum_over_patches(headed: Path) -> None:
    import torch

    from services.encoder.head import TagHead

    head = TagHead.load(headed)
    tokens = torch.randn(2, 16, 32)
    expected = torch.stack([head.tag(tokens[:, i]) for i in range(16)]).max(dim=0).values
    assert head.config.tags == TAGS
    torch.testing.assert_close(head.frame_tag_logits(tokens), expected)
    assert head(tokens).shape == (2, 12)


def test_fingerprint_follows_every_file(tmp_path: Path, plain: Path, headed: Path) -> None:
    first = load_encoder(str(write_tiny_clip(tmp_path / "a", head=True))).fingerprint
    assert first == load_encoder(str(headed)).fingerprint
    assert len(first) == 16
    other_weights = load_encoder(str(write_tiny_clip(tmp_path / "b", head=True, seed=1))).fingerprint
    without_head = load_encoder(str(plain)).fingerprint
    (tmp_path / "a" / "open_clip_config.json").write_text(
        (plain / "open_clip_config.json").read_text().replace("0.25", "0.26"), encoding="utf-8"
    )
    other_config = load_encoder(str(tmp_path / "a")).fingerprint
    other_precision = load_encoder(str(headed), precision="bf16").fingerprint
    assert len({first, other_weights, without_head, other_config, other_precision}) == 5


def test_bf16_stays_close(headed: Path) -> None:
    fp32 = load_encoder(str(headed)).embed_images(frames())
    bf16 = load_encoder(str(headed), precision="bf16").embed_images(frames())
    assert (fp32 * bf16).sum(axis=1).min() > 0.99


def test_random_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="pretrained"):
        load_encoder("ViT-B-32")


def test_hash_encoder() -> None:
    encoder = HashEncoder()
    vectors = encoder.embed_images([flat(RED), flat(RED, 90, 90), flat(BLUE), counting(56)])
    assert vectors.shape == (4, encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.999
    assert vectors[0] @ vectors[2] < 0.5
    assert encoder.fingerprint == HashEncoder().fingerprint != HashEncoder(grid=5).fingerprint


def test_the_hash_encoder_sees_a_sentence_as_a_picture_of_the_colours_it_names() -> None:
    encoder = HashEncoder()
    red, blue, both = encoder.embed_texts(["a RED thing", "blue, and bluer", "red and blue"])
    seen = encoder.embed_images([flat(RED), flat(BLUE)])
    assert red @ seen[0] > 0.99
    assert blue @ seen[1] > 0.99
    assert red @ seen[1] < 0.5
    assert both @ seen[0] == pytest.approx(both @ seen[1], abs=0.1)
    assert encoder.embed_texts([]).shape == (0, encoder.dim)
    with pytest.raises(TextUnsupported):
        encoder.embed_texts(["a red thing", "hundred of them"])


def test_the_package_is_light() -> None:
    code = (
        "import sys, services.encoder, services.media, services.scoring\n"
        "heavy = {'torch', 'torchvision', 'open_clip', 'av', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_torchvision_can_be_imported_and_asked_twice() -> None:
    code = (
        "from services.torchvision_compat import ensure_torchvision as e\n"
        "import sys; assert 'torch' not in sys.modules\n"
        "e(); e(); import torchvision.transforms; e()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_frames_prepared_together_are_what_the_transform_makes_of_each(plain: Path) -> None:
    import open_clip
    import torch
    from PIL import Image

    from services.encoder.preprocess import prepare

    for name, options in ((f"local-dir:{plain}", {}), ("ViT-B-32", {"image_resize_mode": "shortest"})):
        transform = open_clip.create_model_and_transforms(name, **options)[2]
        each = torch.stack([transform(Image.fromarray(frame)) for frame in frames()])
        assert torch.equal(prepare(transform, frames()), each)
        assert torch.equal(prepare(transform.__call__, frames()), each)
