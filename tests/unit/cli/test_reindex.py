"""`winnow seeds reindex`, against a bank behind a real HTTP server."""

import json
import signal
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.contracts import EncoderSpec, ReindexStatus
from services.errors import Conflict
from tests.unit.cli.bank import Bank
from winnow.cli import app

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["seeds", *arguments])


def said(result: Result) -> str:
    return " ".join(result.output.split())


def building(state: str, done: int, **values: Any) -> ReindexStatus:
    document = {"encoder": "b" * 16, "state": state, "done": done, "total": 4, "started_by": "ops", "started_at": NOW}
    return ReindexStatus.model_validate({**document, **values})


def test_a_reindex_is_watched_until_it_is_live(gateway: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("winnow.reindex_commands.POLL_S", 0.01)
    before = building("live", 4, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    # A replica may answer that does not know of it yet.
    gateway.steps = [building("building", 0), before, building("building", 2), building("live", 4)]
    gateway.status["previous"] = "c" * 16
    result = run("reindex", "--model", "ViT-B-32", "--pretrained", "openai", "--precision", "bf16")
    assert result.exit_code == 0, result.output
    assert gateway.wanted[0].encoder == EncoderSpec(model="ViT-B-32", pretrained="openai", precision="bf16")
    assert len(gateway.steps) == 1
    assert f"--back returns to {'c' * 16}" in said(result)


def test_a_reindex_that_fails_or_is_overtaken_is_an_error(gateway: Bank) -> None:
    gateway.steps = [building("failed", 1, error="no such model")]
    failed = run("reindex")
    assert (failed.exit_code, "the live encoder stays: no such model" in said(failed)) == (1, True)
    assert gateway.wanted[0].encoder is None
    gateway.steps = [building("building", 0), building("building", 0, started_at=datetime(2027, 1, 1, tzinfo=UTC))]
    overtaken = run("reindex")
    assert (overtaken.exit_code, "Another one was started meanwhile" in said(overtaken)) == (1, True)
    gateway.fail_next = [Conflict("Another one is being built.")]
    second = run("reindex")
    assert (second.exit_code, "`winnow seeds stats` tells which encoder is live" in said(second)) == (1, True)
    assert "--pretrained goes with --model" in said(run("reindex", "--pretrained", "openai"))


def test_ctrl_c_leaves_a_reindex_running_and_says_so(gateway: Bank) -> None:
    gateway.steps = [building("building", 0)]
    main = threading.main_thread().ident or 0
    timer = threading.Timer(1.0, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    result = run("reindex")
    timer.join()
    assert (result.exit_code, "The router goes on with it" in said(result)) == (130, True)


def test_going_back_switches_to_the_encoder_before(gateway: Bank) -> None:
    nothing = run("reindex", "--back")
    assert (nothing.exit_code, "no encoder to go back to" in said(nothing)) == (1, True)
    gateway.status["previous"] = "c" * 16
    result = run("reindex", "--back", "--json")
    assert json.loads(result.stdout)["encoder"] == "c" * 16
    assert gateway.wanted == []
