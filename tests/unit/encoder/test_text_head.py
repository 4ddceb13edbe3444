"""The text head: sentences in the space of a head, of the bundled encoder and of tiny ones."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.encoder import TextUnsupported
from services.encoder.open_clip import load_encoder
from services.encoder.text_head import TEXT_HEAD_CONFIG, TextHead, TextHeadConfig, plain_words
from services.media import sample_times
from services.media.decode import decode_frames
from tests.unit.encoder.tiny import write_tiny_clip

ROOT = Path(__file__).resolve().parents[3]
MODEL, SEEDS = ROOT / "router_svc" / "models" / "demo", ROOT / "winnow" / "bundled" / "seeds"
SENTENCES = {
    "weapon_threat": "A person with a knife.",
    "underage_drinking": "a child with a glass of beer",
    "smoking_promotion": "a man with a cigarette",
    "gambling_for_money": "a slot machine and money",
    "drug_abuse": "drugs at a party",
    "animal_cruelty": "a knife and a dog",
    "distracted_driving": "a phone and a car",
    "arson": "a house on fire",
}


@pytest.fixture(scope="module")
def bundled() -> Any:
    return load_encoder(str(MODEL))


@pytest.fixture(scope="module")
def shown(bundled: Any) -> dict[str, np.ndarray]:
    """By issue, vectors [frames, dim] of the bundled segments that violate it."""
    vectors: dict[str, list[np.ndarray]] = {}
    for line in (SEEDS / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if len(vectors.get(row["issue"], ())) < 6:
            times = sample_times(row["end_s"], start_s=row["start_s"], end_s=row["end_s"], count=2)
            frames = decode_frames(SEEDS / row["path"], times=times, short_side=160).frames
            vectors.setdefault(row["issue"], []).append(bundled.embed_images(frames))
    return {issue: np.concatenate(own) for issue, own in vectors.items()}


def with_text_head(directory: Path, *, encoder: str | None = None) -> Path:
    """A tiny encoder with a head, and a text head that was made for it or for the encoder named."""
    write_tiny_clip(directory, head=True)
    made_for = encoder or load_encoder(str(directory)).fingerprint
    torch.manual_seed(3)
    TextHead(TextHeadConfig(made_for, width=24, hidden=20, dim=12)).save(directory)
    return directory


def test_the_bundled_encoder_takes_sentences_and_its_images_stay_as_they_were(bundled: Any) -> None:
    assert bundled.supports_text
    assert bundled.fingerprint == "a288837abe81ab4f", "reports, background and calibrators name it"
    found = bundled.embed_texts(["a house on fire", "a phone and a car"])
    assert found.shape == (2, bundled.dim)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert bundled.embed_texts([]).shape == (0, bundled.dim)


def test_the_bundled_models_stay_small() -> None:
    models = (MODEL, ROOT / "ranker_svc" / "models" / "demo")
    assert sum(path.stat().st_size for model in models for path in model.rglob("*") if path.is_file()) < 40e6


@pytest.mark.parametrize("issue", SENTENCES)
def test_a_sentence_lies_nearer_to_what_it_tells_of_than_to_other_violations(
    bundled: Any, shown: dict[str, np.ndarray], issue: str
) -> None:
    sentence = bundled.embed_texts([SENTENCES[issue]])[0]
    medians = {other: float(np.median(frames @ sentence)) for other, frames in shown.items()}
    own = medians.pop(issue)
    assert own > 0.6
    assert own > max(medians.values()) + 0.2


def test_case_and_punctuation_of_a_sentence_do_not_matter(bundled: Any) -> None:
    assert plain_words("  A tent -- \n not_a\thouse; 2x! ") == "a tent not a house 2x"
    assert plain_words("Ein Mädchen, 50 Ø") == "ein mädchen 50 ø"
    one, other = bundled.embed_texts(["A person with a knife.", "a person -- with a KNIFE"])
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_sentence_of_no_words_or_of_very_many_still_has_a_vector(bundled: Any) -> None:
    vectors = bundled.embed_texts(["!", "fire " * 400, "日本語"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_a_text_head_changes_neither_fingerprint_nor_images(tmp_path: Path) -> None:
    bare = load_encoder(str(write_tiny_clip(tmp_path / "bare", head=True)))
    encoder = load_encoder(str(with_text_head(tmp_path / "with")))
    picture = [np.full((20, 20, 3), 90, np.uint8)]
    assert encoder.fingerprint == bare.fingerprint
    assert np.array_equal(encoder.embed_images(picture), bare.embed_images(picture))
    assert (bare.supports_text, encoder.supports_text) == (False, True)
    assert encoder.embed_texts(["a knife"]).shape == (1, 12) == bare.embed_images(picture).shape
    with pytest.raises(TextUnsupported, match="text head"):
        bare.embed_texts(["a knife"])


def test_at_another_precision_it_serves_nearly_the_same_vectors(tmp_path: Path) -> None:
    directory = with_text_head(tmp_path / "with")
    fp32, bf16 = (load_encoder(str(directory), precision=each).embed_texts(["a knife"])[0] for each in ("fp32", "bf16"))
    assert float(fp32 @ bf16) > 0.99


def test_a_text_head_of_another_encoder_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = with_text_head(tmp_path / "with", encoder="0123456789abcdef")
    with caplog.at_level(logging.WARNING):
        encoder = load_encoder(str(directory))
    assert not encoder.supports_text
    assert "another encoder" in caplog.text


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(5)
    head = TextHead(TextHeadConfig("0123456789abcdef", width=6, hidden=8, dim=4)).eval()
    head.save(tmp_path)
    found = TextHead.load(tmp_path)
    assert found.config == head.config == TextHeadConfig.load(tmp_path / TEXT_HEAD_CONFIG)
    told = torch.randn(7, 6)
    assert not found.training
    torch.testing.assert_close(found(told), head(told), atol=5e-3, rtol=0)
    torch.testing.assert_close(found(told * 100), found(told), atol=1e-3, rtol=0)
    assert not torch.allclose(found(told)[0], found(told)[1], atol=1e-3)
