"""What people see of seeds and of the bank: tables. What operators and strangers wrote is shown, never obeyed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.contracts import BankStatus, ReindexStatus, Seed, SeedState
from winnow.display import WIDE
from winnow.report import printable

SHORT_ID = 12
"""Digits that are shown where the terminal is narrow; commands take them as they are."""
STATES: tuple[SeedState, ...] = ("active", "paused", "quarantined", "removed")
_COLOURS = {"active": "green", "expired": "yellow", "paused": "yellow", "quarantined": "red", "removed": "bright_black"}
_NOTE = 40


def seed_table(seeds: Iterable[Seed], *, width: int, now: datetime) -> Table:
    """One line for every seed; whole ids and more columns where `width` (columns of the terminal) is at least WIDE."""
    wide = width >= WIDE
    table = _table("id", "issue", "kind", "state", "share", "hits", "confirmed" if wide else "conf.")
    for name in ("refuted", "segment", "expires", "note") if wide else ("ref.",):
        table.add_column(name)
    for column in table.columns[4:8]:
        column.justify = "right"
    for seed in seeds:
        counts = (seed.stats.hits, seed.stats.confirmed, seed.stats.refuted)
        more = (shortened(segment(seed), _NOTE), _time(seed.expires_at, "never"), shortened(seed.note, _NOTE))
        table.add_row(
            seed.id if wide else seed.id[:SHORT_ID],
            seed.issue,
            seed.kind,
            state_text(seed, now),
            f"{seed.share:.0%}" if seed.share >= 0.01 else f"{seed.share:.2g}",
            *map(str, counts),
            *(map(_plain, more) if wide else ()),
        )
    return table


def seed_details(seed: Seed, *, now: datetime) -> Table:
    """Everything about one seed, a field a line."""
    rows: list[tuple[str, str | Text]] = [
        ("id", seed.id),
        ("version", str(seed.version)),
        ("issue", seed.issue),
        ("kind", seed.kind),
        ("state", state_text(seed, now)),
        ("share of traffic", f"{seed.share:g}"),
        ("expires", _time(seed.expires_at, "never")),
        ("text" if seed.text is not None else "segment", segment(seed)),
        ("SHA-256", seed.sha256),
        ("frame vectors", str(seed.vectors)),
        ("note", seed.note or "-"),
        ("added", f"{_time(seed.created_at)} by {seed.created_by}"),
        ("last change", f"{_time(seed.updated_at)} by {seed.updated_by}"),
        ("hits", str(seed.stats.hits)),
        ("confirmed", str(seed.stats.confirmed)),
        ("refuted", str(seed.stats.refuted)),
        ("last hit", _time(seed.stats.last_hit_at)),
    ]
    if seed.quarantined_why is not None:
        rows.append(("quarantined", seed.quarantined_why))
    if seed.removed is not None:
        rows.append(("removed", f"{_time(seed.removed.at)} by {seed.removed.by}: {seed.removed.why}"))
    return _fields(rows)


def bank_tables(
    bank: BankStatus, issues: Mapping[str, Mapping[str, int]], seeds: Mapping[str, Sequence[Seed]], *, now: datetime
) -> RenderableType:
    """The bank as a whole.

    Args:
        bank: what the router tells of it.
        issues: seeds of each issue by state.
        seeds: tables of seeds by heading; those without seeds are left out.
        now: by which seeds have expired.
    """
    total = Counter[str]()
    by_issue = _table("issue", *STATES, "searched for")
    for column in by_issue.columns[1:]:
        column.justify = "right"
    for issue, states in sorted(issues.items()):
        total.update(states)
        by_issue.add_row(issue, *(str(states.get(state, 0)) for state in STATES), str(bank.seeds.get(issue, 0)))
    by_issue.add_row("all", *(str(total[state]) for state in STATES), str(sum(bank.seeds.values())), style="bold")
    facts: list[tuple[str, str | Text]] = [
        ("encoder", bank.encoder),
        ("encoder before", bank.previous or "-"),
        ("revision", bank.revision),
        ("vectors", str(bank.vectors)),
        ("expired", str(bank.expired)),
    ]
    if bank.reindex is not None:
        facts.append(("reindexing", reindex_text(bank.reindex)))
    parts: list[RenderableType] = [_fields(facts), Text(), by_issue]
    for heading, listed in seeds.items():
        if listed:
            parts += [Text(f"\n{heading}", style="bold"), _ranking(listed, now)]
    return Group(*parts)


def failure_table(failed: Sequence[tuple[str, str]], *, most: int = 50) -> Table:
    """What failed, and why; the first `most` of them."""
    table = _table("not done", "why")
    for name, why in failed[:most]:
        table.add_row(_plain(name), Text(printable(why), style="red"))
    if len(failed) > most:
        table.add_row(f"and {len(failed) - most} more", "")
    return table


def reindex_text(status: ReindexStatus) -> str:
    """How far the bank is indexed with another encoder, in words."""
    why = f": {status.error}" if status.error else ""
    return f"{status.state}, {status.done} of {status.total} seeds, by {status.started_by}{why}"


def state_text(seed: Seed, now: datetime) -> Text:
    """The state with its colour; `expired` for an active seed that is searched for no more."""
    over = seed.state == "active" and seed.expires_at is not None and seed.expires_at <= now
    name = "expired" if over else seed.state
    return Text(name, style=_COLOURS[name])


def segment(seed: Seed) -> str:
    """The sentence of a seed, or the segment of its video."""
    return seed.text if seed.text is not None else f"{seed.start_s:.1f} to {seed.end_s:.1f} s"


def shortened(text: str, length: int) -> str:
    """The text, cut to `length` characters."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _ranking(seeds: Sequence[Seed], now: datetime) -> Table:
    """Seeds with their statistics; where one is quarantined, with the reason instead of what takes its room."""
    reasons = any(seed.quarantined_why for seed in seeds)
    table = _table("id", "issue", *(() if reasons else ("kind", "state")), "hits", "confirmed", "refuted")
    for column in table.columns[-3:]:
        column.justify = "right"
    if reasons:
        table.add_column("why", overflow="fold")
    for seed in seeds:
        stats = map(str, (seed.stats.hits, seed.stats.confirmed, seed.stats.refuted))
        kind = () if reasons else (seed.kind, state_text(seed, now))
        why = (_plain(seed.quarantined_why or ""),) if reasons else ()
        table.add_row(seed.id[:SHORT_ID], seed.issue, *kind, *stats, *why)
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        # An id that is broken into lines cannot be copied.
        table.add_column(name, overflow="fold", no_wrap=name == "id")
    return table


def _fields(rows: Iterable[tuple[str, str | Text]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value if isinstance(value, Text) else _plain(value))
    return table


def _plain(text: str) -> Text:
    """Text that is neither markup nor an order to the terminal."""
    return Text(printable(text))


def _time(when: datetime | None, otherwise: str = "-") -> str:
    return otherwise if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
