"""What people see of seeds."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, RenderableType

from services.contracts import BankStatus, ReindexStatus, Seed, SeedRequest, SeedStats
from tests.unit.cli.bank import seed_of
from winnow.seed_tables import bank_tables, failure_table, seed_table

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07[bold]x[/nope]\n\u202egpj"


def seed(name: str = "a", **values: Any) -> Seed:
    return seed_of(SeedRequest(issue="arson"), name.encode(), **values)


def drawn(table: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, emoji=False)
    console.print(table)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_ids_are_whole_where_there_is_room_and_short_where_not() -> None:
    each = seed()
    assert each.id in drawn(seed_table([each], width=150, now=NOW), 150)
    narrow = drawn(seed_table([each], width=80, now=NOW), 80)
    assert each.id[:12] in narrow
    assert each.id[:13] not in narrow
    assert len(narrow.splitlines()) == 2


def test_a_seed_past_its_expiry_is_shown_as_expired() -> None:
    over, later = seed(expires_at=NOW), seed("b", expires_at=NOW + timedelta(seconds=1))
    paused = seed("c", expires_at=NOW, state="paused")
    first, second, third = drawn(seed_table([over, later, paused], width=80, now=NOW), 80).splitlines()[1:]
    assert ("expired" in first, "active" in second, "paused" in third) == (True, True, True)


def test_a_small_share_is_not_rounded_to_nothing() -> None:
    assert "0.001" in drawn(seed_table([seed(share=0.001)], width=80, now=NOW), 80)


def test_nothing_that_strangers_wrote_is_obeyed() -> None:
    shown = drawn(seed_table([seed(note=HOSTILE)], width=200, now=NOW), 200)
    shown += drawn(failure_table([(HOSTILE, HOSTILE)]), 200)
    bank = BankStatus(revision=HOSTILE, encoder=HOSTILE, seeds={}, vectors=0)
    listed = {"Quarantined": [seed(state="quarantined", quarantined_why=HOSTILE)]}
    shown += drawn(bank_tables(bank, {}, listed, now=NOW), 200)
    assert not set("\x1b\x07\u202e") & set(shown)
    assert shown.count("[bold]x[/nope]") == 6


def test_the_bank_is_shown_by_issue_and_state() -> None:
    status = ReindexStatus(
        encoder="", state="failed", done=3, total=9, error="no room", started_at=NOW, started_by="ops"
    )
    bank = BankStatus(revision="rev", encoder="enc", seeds={"arson": 2}, vectors=16, expired=1, reindex=status)
    issues = {"arson": {"active": 3, "removed": 1}, "theft": {"paused": 2}}
    hit = seed(stats=SeedStats(hits=12, confirmed=4, refuted=3))
    shown = drawn(bank_tables(bank, issues, {"Most hits": [hit], "Quarantined": []}, now=NOW), 100)
    rows = [line.split() for line in shown.splitlines()]
    assert ["arson", "3", "0", "0", "1", "2"] in rows
    assert ["all", "3", "2", "0", "1", "2"] in rows
    assert ["reindexing", "failed,", "3", "of", "9", "seeds,", "by", "ops:", "no", "room"] in rows
    assert [hit.id[:12], "arson", "golden", "active", "12", "4", "3"] in rows
    assert "Quarantined" not in shown


def test_an_id_stays_on_one_line_beside_a_long_reason() -> None:
    held = seed(state="quarantined", quarantined_why="matches at least 9 % of recent traffic, more than 5 %")
    bank = BankStatus(revision="r", encoder="e", seeds={}, vectors=0)
    assert held.id[:12] in drawn(bank_tables(bank, {}, {"Quarantined": [held]}, now=NOW), 50)


def test_many_failures_are_counted() -> None:
    shown = drawn(failure_table([(f"{each}.mp4", "broken") for each in range(60)], most=50), 80)
    assert ("49.mp4" in shown, "50.mp4" in shown, "and 10 more" in shown) == (True, False, True)
