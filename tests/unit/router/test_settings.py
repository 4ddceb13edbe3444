"""Settings and what is loaded by them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from router_svc.assets import AssetError, load_background, load_encoder_of
from router_svc.settings import Settings
from services.contracts import EncoderSpec
from services.encoder import HashEncoder
from services.scoring import Background


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_defaults_are_usable(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.encoder_model.endswith("models/demo")
    assert settings.sampling.count(600) == 32
    assert settings.limits.max_bytes == settings.max_video_bytes
    assert settings.spool_dir == tmp_path / "router" / "spool"
    assert (settings.port, settings.ranker_urls) == (8081, ("http://127.0.0.1:8082",))
    # The bundled ranker is trained on as many.
    assert settings.rank_frames == 4


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_ROUTER_RANKER_URLS", "http://a:1, http://b:2,")
    monkeypatch.setenv("WINNOW_ROUTER_JPEG_QUALITY", "80")
    settings = Settings()
    assert settings.ranker_urls == ("http://a:1", "http://b:2")
    assert settings.jpeg_quality == 80
    monkeypatch.setenv("WINNOW_ROUTER_RANKER_URLS", "none")
    assert Settings().ranker_urls == ()
    monkeypatch.setenv("WINNOW_ROUTER_RANKER_URLS", "")
    assert Settings().ranker_urls == ("http://127.0.0.1:8082",)


def test_the_qdrant_url_has_a_plain_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().qdrant_url is None
    assert Settings(qdrant_url="http://named").qdrant_url == "http://named"
    monkeypatch.setenv("QDRANT_URL", "http://plain")
    assert Settings().qdrant_url == "http://plain"
    monkeypatch.setenv("WINNOW_ROUTER_QDRANT_URL", "http://ours")
    assert Settings().qdrant_url == "http://ours"


def test_other_machines_need_a_token() -> None:
    with pytest.raises(ValidationError, match="service_token"):
        Settings(host="0.0.0.0")


def test_the_background_must_be_the_encoders_own(tmp_path: Path) -> None:
    encoder = HashEncoder()
    settings = Settings(encoder_model=str(tmp_path))
    assert load_background(settings, encoder) == Background.identity()
    ours = Background.fit({"golden": [0.1, 0.2]}, encoder=encoder.fingerprint)
    ours.save(tmp_path / "background.json")
    assert load_background(settings, encoder) == ours
    Background.fit({"golden": [0.1, 0.2]}, encoder="another").save(tmp_path / "background.json")
    with pytest.raises(AssetError, match="fitted for encoder another"):
        load_background(settings, encoder)
    rounded = Settings(encoder_model=str(tmp_path), encoder_precision="bf16")
    assert load_background(rounded, encoder).encoder == "another"
    with pytest.raises(AssetError, match="cannot be read"):
        load_background(Settings(background_path=tmp_path / "missing.json"), encoder)


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="nowhere"):
        load_encoder_of(EncoderSpec(model=str(tmp_path / "nowhere")), "cpu")
