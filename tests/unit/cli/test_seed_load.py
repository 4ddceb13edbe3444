"""`winnow seeds load`, against a bank behind a real HTTP server."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.cli.bank import Bank
from winnow.cli import app

TOKEN = "WINNOW_ROUTER_SERVICE_TOKEN"


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["seeds", *arguments], env=environment)


def test_load_adds_seeds_to_a_bank_whatever_it_holds(gateway: Bank, seeds: Path, server: str) -> None:
    for _ in range(2):
        result = run("load", str(seeds), WINNOW_ROUTER_URL=server, **{TOKEN: "secret"})
        assert result.exit_code == 0, result.output
        assert "2 seeds are in the bank." in result.output
    assert set(gateway.seeds) == {"a.mp4", "b.mp4"}
    assert gateway.tokens == {"Bearer secret"}
    assert run("load", str(seeds), "--router", server, "--json").stdout == '{"seeds": 2}\n'


def test_a_seed_that_the_router_refuses_ends_the_load(gateway: Bank, seeds: Path, server: str) -> None:
    gateway.refused = "smoking"
    result = run("load", str(seeds), "--router", server)
    assert (result.exit_code, "The seeds could not be loaded" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1", "The router cannot be asked"),
        ("http://router:http", "not the URL of a router"),
        ("localhost:8081", "not the URL of a router"),
    ],
)
def test_a_router_that_cannot_be_asked_is_an_error(seeds: Path, url: str, message: str) -> None:
    result = run("load", str(seeds), "--router", url)
    assert (result.exit_code, message in result.output) == (1, True), result.output


def test_a_directory_without_a_manifest_cannot_be_loaded(tmp_path: Path) -> None:
    result = run("load", str(tmp_path))
    assert (result.exit_code, "manifest.jsonl" in result.output) == (1, True)


def test_the_bundled_seeds_are_the_default(gateway: Bank, server: str) -> None:
    assert run("load", "--router", server).exit_code == 0
    assert len(gateway.seeds) == 128
