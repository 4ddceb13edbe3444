"""`winnow seeds load`, against a bank behind a real HTTP server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.cli.bank import Bank
from tests.web import serving_in_thread
from winnow.cli import app

TOKEN = "WINNOW_ROUTER_SERVICE_TOKEN"


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[tuple[Bank, str]]:
    stand_in = Bank(tmp_path / "spool")
    with serving_in_thread(stand_in.app) as url:
        yield stand_in, url


def load(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["seeds", "load", *arguments], env=environment)


def test_seeds_are_added_to_a_bank_whatever_it_holds(bank: tuple[Bank, str], seeds: Path) -> None:
    stand_in, url = bank
    for _ in range(2):
        result = load(str(seeds), "--router", url)
        assert result.exit_code == 0, result.output
        assert "2 seeds are in the bank." in result.output
    assert set(stand_in.seeds) == {"a.mp4", "b.mp4"}


def test_router_and_token_come_from_the_environment(bank: tuple[Bank, str], seeds: Path) -> None:
    stand_in, url = bank
    assert load(str(seeds), WINNOW_ROUTER_URL=url, **{TOKEN: "secret"}).exit_code == 0
    assert stand_in.tokens == {"Bearer secret"}


def test_a_seed_that_the_router_refuses_ends_the_load(bank: tuple[Bank, str], seeds: Path) -> None:
    stand_in, url = bank
    stand_in.refused = "smoking"
    result = load(str(seeds), "--router", url)
    assert result.exit_code == 1
    assert "The seeds could not be loaded" in result.output


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "The router cannot be asked"),
        ("http://router:http", "not the URL of a router"),
        ("localhost:8081", "not the URL of a router"),
    ],
)
def test_a_router_that_cannot_be_asked_is_an_error(seeds: Path, url: str, said: str) -> None:
    result = load(str(seeds), "--router", url)
    assert (result.exit_code, said in result.output) == (1, True), result.output


def test_a_directory_without_a_manifest_is_an_error(tmp_path: Path) -> None:
    result = load(str(tmp_path))
    assert result.exit_code == 1
    assert "manifest.jsonl" in result.output


def test_the_bundled_seeds_are_the_default(bank: tuple[Bank, str]) -> None:
    stand_in, url = bank
    assert load("--router", url).exit_code == 0
    assert len(stand_in.seeds) == 128
