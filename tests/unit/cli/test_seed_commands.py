"""`winnow seeds` about single seeds, against a bank behind a real HTTP server."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.contracts import NewSeed, Seed, SeedRemoval, SeedRequest, SeedStats
from services.errors import Forbidden, NotFound, Unauthorized
from tests.unit.cli.bank import Bank, seed_of
from winnow.cli import app
from winnow.seed_options import expiry
from winnow.supervisor import free_port

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["seeds", *arguments])


def said(result: Result) -> str:
    return " ".join(result.output.split())


def stored(bank: Bank, count: int, **values: object) -> list[Seed]:
    asked = SeedRequest(issue="arson")
    return [bank.keep(seed_of(asked, f"video {each}".encode(), **values)) for each in range(count)]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "fire.mp4"
    path.write_bytes(b"frames of a fire")
    return path


def test_a_video_is_added_with_all_that_was_named(gateway: Bank, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_API_KEY", "secret")
    options = ["--start", "1.5", "--end", "3", "--share", "0.25", "--expires", "7d", "--note", "new trend", "--paused"]
    result = run("add", "arson", str(video), "--kind", "negative", *options)
    assert result.exit_code == 0, result.output
    asked = gateway.sent[0]
    assert (asked.issue, asked.kind, asked.start_s, asked.end_s) == ("arson", "negative", 1.5, 3.0)
    assert (asked.share, asked.note, asked.state) == (0.25, "new trend", "paused")
    assert asked.expires_at is not None
    assert abs(asked.expires_at - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)
    assert gateway.tokens == {"Bearer secret"}
    assert "not searched for yet" in said(result)


@pytest.mark.parametrize(
    ("option", "value", "field", "kind"),
    [
        ("--from-url", "https://cdn.example/a.mp4", "url", "golden"),
        ("--decision", "dec_1", "decision_id", "golden"),
        ("--text", "a burning car", "text", "text"),
    ],
)
def test_a_seed_is_added_from_a_url_a_decision_or_a_sentence(
    gateway: Bank, option: str, value: str, field: str, kind: str
) -> None:
    result = run("add", "arson", option, value, "--json")
    assert result.exit_code == 0, result.output
    asked = gateway.sent[0]
    assert isinstance(asked, NewSeed)
    assert (getattr(asked, field), asked.kind) == (value, kind)
    assert Seed.model_validate_json(result.stdout).issue == "arson"


def test_a_seed_that_the_bank_has_is_told_as_such(gateway: Bank, video: Path) -> None:
    assert "Added" in run("add", "arson", str(video)).output
    again = run("add", "arson", str(video), "--share", "0.5")
    assert again.exit_code == 0
    assert "The bank had this seed" in said(again)
    assert len(gateway.records) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["arson"], "Name one of a video file"),
        (["arson", "VIDEO", "--text", "fire"], "Name one of a video file"),
        (["Not An Issue", "VIDEO"], "issue: String should match"),
        (["arson", "VIDEO", "--start", "2", "--end", "1"], "end_s must be greater than start_s"),
        (["arson", "VIDEO", "--share", "0"], "share: Input should be greater than 0"),
        (["arson", "VIDEO", "--expires", "soon"], "'soon' is no time: write 36h"),
        (["arson", "VIDEO", "--kind", "text"], "a seed of kind `text` has a text"),
        (["arson", "missing.mp4"], "missing.mp4: The file cannot be used: No such file"),
    ],
)
def test_what_cannot_be_added_is_told_before_anything_is_sent(
    gateway: Bank, video: Path, arguments: list[str], message: str
) -> None:
    result = run("add", *(str(video) if each == "VIDEO" else each for each in arguments))
    assert (result.exit_code, message in said(result)) == (1, True), result.output
    assert gateway.asked == []


def test_what_the_gateway_refuses_is_told_with_advice(gateway: Bank, video: Path) -> None:
    gateway.fail_next = [NotFound("No such decision."), Unauthorized("No key."), Forbidden("Not this scope.")]
    assert "Check the id of the decision" in said(run("add", "arson", "--decision", "dec_1"))
    assert "WINNOW_API_KEY" in said(run("add", "arson", str(video)))
    refused = run("list")
    assert (refused.exit_code, "scope `seeds`" in said(refused)) == (1, True)


def test_without_a_gateway_it_is_said_how_to_start_one() -> None:
    result = run("list", "--url", f"http://127.0.0.1:{free_port()}")
    assert (result.exit_code, "winnow up" in result.output) == (1, True)


def test_a_list_is_a_table_with_whole_ids_where_there_is_room(gateway: Bank) -> None:
    seeds = stored(gateway, 3, share=0.5)
    result = run("list")
    assert result.exit_code == 0, result.output
    assert all(seed.id in result.output for seed in seeds)
    assert "50%" in result.output


def test_a_list_says_how_many_more_there_are(gateway: Bank) -> None:
    seeds = stored(gateway, 205)
    result = run("list", "--limit", "2", "--json")
    lines = [json.loads(line)["id"] for line in result.stdout.splitlines()]
    assert lines == [seeds[204].id, seeds[203].id]
    assert "203 more: see them with --all" in result.stderr
    everything = run("list", "--all", "--json")
    assert len(everything.stdout.splitlines()) == 205
    assert everything.stderr == ""


def test_a_list_is_filtered(gateway: Bank) -> None:
    stored(gateway, 2)
    wanted = gateway.keep(seed_of(SeedRequest(issue="smoking", kind="negative"), b"x", state="paused"))
    filters = ["--issue", "smoking", "--kind", "negative", "--state", "paused"]
    assert [json.loads(run("list", *filters, "--json").stdout)["id"]] == [wanted.id]
    assert "No such seed" in run("list", "--state", "removed").output
    wrong = run("list", "--state", "gone")
    assert (wrong.exit_code, "state: Input should be 'active'" in said(wrong)) == (1, True)


def test_show_tells_statistics_quarantine_and_removal_and_obeys_nobody(gateway: Bank) -> None:
    stats = SeedStats(hits=7, confirmed=1, refuted=5, last_hit_at=NOW)
    why = "refuted\x1b[2J [red]mostly[/red]"
    seed = stored(gateway, 1, state="quarantined", stats=stats, quarantined_why=why, note="[bold]x[/nope]")[0]
    result = run("show", seed.id)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    for text in ("[red]mostly[/red]", "[bold]x[/nope]", "quarantined", "2026-11-03 12:00 UTC", seed.sha256):
        assert text in result.output
    removed = SeedRemoval(at=NOW, by="ops", why="wrong clip")
    gone = gateway.keep(seed_of(SeedRequest(issue="arson"), b"gone", state="removed", removed=removed))
    assert "2026-11-03 12:00 UTC by ops: wrong clip" in run("show", gone.id).output
    assert Seed.model_validate_json(run("show", gone.id, "--json").stdout) == gone


def test_the_first_digits_name_a_seed_also_a_removed_one(gateway: Bank) -> None:
    stored(gateway, 3)
    gone = gateway.keep(seed_of(SeedRequest(issue="theft"), b"gone", state="removed"))
    result = run("show", gone.id[:12].upper(), "--json")
    assert json.loads(result.stdout)["id"] == gone.id


def test_digits_that_name_no_seed_or_several_are_an_error(gateway: Bank) -> None:
    for tail in ("0", "1"):
        gateway.keep(seed_of(SeedRequest(issue="arson"), tail.encode(), id="abcd" + tail * 28))
    several = run("show", "abcd")
    assert (several.exit_code, "Several seeds begin with abcd: abcd0000" in said(several)) == (1, True)
    assert "No seed begins with ffff" in said(run("show", "ffff"))
    assert "is not the id of a seed" in said(run("show", "abc"))
    missing = run("show", "f" * 32)
    assert (missing.exit_code, "There is no such seed. `winnow seeds list`" in said(missing)) == (1, True)


def test_a_change_names_only_what_changes_and_the_version_that_was_read(gateway: Bank) -> None:
    seed = stored(gateway, 1, version=4, note="kept", expires_at=NOW + timedelta(days=4000))[0]
    result = run("set", seed.id[:8], "--share", "0.1", "--expires", "never", "--state", "paused", "--json")
    assert result.exit_code == 0, result.output
    changed = gateway.records[seed.id]
    assert (changed.share, changed.expires_at, changed.state, changed.note) == (0.1, None, "paused", "kept")
    assert json.loads(result.stdout)["version"] == 5


@pytest.mark.parametrize("command", [["set", "--note", "x"], ["remove", "--why", "x"]])
def test_somebody_elses_change_is_not_overwritten(gateway: Bank, command: list[str]) -> None:
    seed = stored(gateway, 1, version=4)[0]
    result = run(command[0], seed.id, *command[1:], "--version", "3")
    assert (result.exit_code, "Somebody else has changed it: look again" in said(result)) == (1, True)
    assert gateway.records[seed.id] == seed
    assert run(command[0], seed.id, *command[1:], "--version", "4").exit_code == 0
    assert gateway.records[seed.id].version == 5


def test_a_change_of_nothing_is_an_error(gateway: Bank) -> None:
    result = run("set", "f" * 32)
    assert (result.exit_code, "Name what shall change" in said(result)) == (1, True)
    assert gateway.asked == []


def test_a_removal_asks_why_at_a_terminal_and_not_where_the_seed_goes(gateway: Bank) -> None:
    seed = stored(gateway, 1)[0]
    ours, its = os.openpty()
    try:
        os.write(ours, b"shows a bonfire\n")
        result = subprocess.run(
            [sys.executable, "-m", "winnow", "seeds", "remove", seed.id],
            stdin=its, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(its)
    assert result.returncode == 0, result.stderr
    removed = gateway.records[seed.id].removed
    assert removed is not None
    assert removed.why == "shows a bonfire"
    assert result.stderr == "Why: "
    assert "Why: " not in result.stdout


@pytest.mark.parametrize("options", [(), ("--json",), ("--why", " ")])
def test_a_removal_without_a_reason_is_an_error_where_nobody_can_be_asked(
    gateway: Bank, options: tuple[str, ...]
) -> None:
    seed = stored(gateway, 1)[0]
    result = run("remove", seed.id, *options)
    assert (result.exit_code, "--why TEXT" in said(result), result.stdout) == (1, True, ""), result.output
    assert gateway.records[seed.id].state == "active"


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("never", None),
        ("30m", NOW + timedelta(minutes=30)),
        ("36h", NOW + timedelta(hours=36)),
        ("2w", NOW + timedelta(weeks=2)),
        ("2026-12-31", datetime(2026, 12, 31, tzinfo=UTC)),
        ("2026-12-31T10:00+02:00", datetime(2026, 12, 31, 8, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_a_span_or_a_date(text: str, when: datetime | None) -> None:
    assert expiry(text, NOW) == when


@pytest.mark.parametrize("text", ["", "7", "7y", "999999w", "2026-11-03", "2026-13-01", "0h", "9999-99"])
def test_an_expiry_that_has_passed_or_is_no_time_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="--expires"):
        expiry(text, NOW)
