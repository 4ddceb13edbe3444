"""What every service can be told by the environment."""

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from services.settings import InternalSettings


class Settings(InternalSettings):
    model_config = SettingsConfigDict(env_prefix="WINNOW_SAMPLE_")
    port: int = 8099


def test_environment_with_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_SAMPLE_PORT", "9000")
    monkeypatch.setenv("WINNOW_SAMPLE_SERVICE_TOKEN", "hunter2")
    monkeypatch.setenv("PORT", "1")
    settings = Settings()
    assert settings.port == 9000
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("name", ["port", "host"])
def test_frozen(name: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Settings(), name, 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert Settings(host=host).service_token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "router.internal"])
def test_other_hosts_need_one(host: str) -> None:
    with pytest.raises(ValidationError, match="set service_token"):
        Settings(host=host)
    assert Settings(host=host, service_token="t").host == host


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_SAMPLE_SERVICE_TOKEN", "")
    assert Settings().service_token is None


@pytest.mark.parametrize(
    "wrong", [{"service_token": ""}, {"port": 70_000}, {"default_deadline_s": 0}, {"log_level": "loud"}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    class Checked(InternalSettings):
        pass

    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Checked.model_validate({"port": 1, **wrong})
