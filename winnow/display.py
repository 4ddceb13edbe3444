"""What people see: waiting, progress, the table of decisions."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from winnow.report import Row, printable
from winnow.supervisor import Progress as ReadyProgress

WIDE = 150
"""Columns that the table needs to have one line a decision, and those of a file or a pipe."""
COLOURS = {"block": "red", "review": "yellow", "allow": "green"}

Side = Literal["left", "right"]
_COLUMNS: tuple[tuple[str, Side], ...] = (
    ("clip", "left"),
    ("truth", "left"),
    ("verdict", "left"),
    ("issue", "left"),
    ("route", "left"),
    ("risk / threshold", "right"),
    ("probability", "right"),
    ("evidence at", "right"),
    ("latency", "right"),
    ("agrees", "left"),
)
_SIDE = dict(_COLUMNS)
_TRUTH = frozenset({"truth", "agrees"})


def stdout_console() -> Console:
    """Where results go."""
    console = Console(highlight=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=WIDE)


def stderr_console() -> Console:
    """Where progress and errors go."""
    console = Console(stderr=True, highlight=False, emoji=False)
    return console if console.is_terminal else Console(stderr=True, highlight=False, emoji=False, width=WIDE)


@contextmanager
def waiting(console: Console) -> Iterator[ReadyProgress]:
    """Show what each service still misses; without a terminal, one line for every change."""
    last = ""
    with console.status("Starting the services") as status:

        def show(missing: dict[str, dict[str, str]]) -> None:
            nonlocal last
            text = "; ".join(f"{name}: {describe(parts)}" for name, parts in missing.items())
            if text != last:
                status.update(text)
                if not console.is_terminal:
                    console.print(text, markup=False)
            last = text

        yield show


def describe(missing: dict[str, str]) -> str:
    """What a service misses, in words."""
    return ", ".join(f"{part} ({why})" for part, why in missing.items()) or "ready"


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """A bar with counts and time."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield progress


def decision_table(rows: Iterable[Row], *, with_truth: bool, width: int) -> Table:
    """One line for every decision, two where `width` (columns of the terminal) is less than WIDE.

    `with_truth` adds what the clip really shows and whether the verdict agrees.
    """
    cells = [_cells(row, with_truth) for row in rows]
    if width >= WIDE:
        return _table(tuple(((name,), side) for name, side in _COLUMNS if with_truth or name not in _TRUTH), cells)
    pairs = (("clip", "truth"), ("verdict", "route"), ("issue", "evidence at"), ("risk / threshold", "probability"))
    columns = [(pair if with_truth or pair[1] not in _TRUTH else pair[:1], _SIDE[pair[0]]) for pair in pairs]
    columns.append((("latency", "agrees") if with_truth else ("latency",), "right"))
    return _table(tuple(columns), cells)


def _table(columns: tuple[tuple[tuple[str, ...], Side], ...], rows: list[dict[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for names, side in columns:
        table.add_column("\n".join(names), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*("\n".join(row[name] for name in names) for names, _ in columns))
    return table


def _cells(row: Row, with_truth: bool) -> dict[str, str]:
    """Cells by column. File names are a stranger's: neither markup nor control characters of theirs are obeyed."""
    colour = COLOURS.get(row.verdict, "white")
    cells = {
        "clip": escape(printable(row.clip)),
        "verdict": f"[{colour}]{row.verdict}[/]",
        "issue": row.issue,
        "route": row.route,
        "risk / threshold": row.risk,
        "probability": row.probability,
        "evidence at": row.evidence,
        "latency": row.latency,
    }
    return {**cells, "truth": row.truth, "agrees": "yes" if row.agrees else "no"} if with_truth else cells
