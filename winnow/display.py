"""What people see: waiting, progress, the table of decisions."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from winnow.report import Row
from winnow.supervisor import Progress as ReadyProgress

WIDE = 150
"""Columns for a table that goes to a file or a pipe, where there is no terminal to fit."""
COLOURS = {"block": "red", "review": "yellow", "allow": "green"}


def stdout_console() -> Console:
    """Where results go."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def stderr_console() -> Console:
    """Where progress and errors go."""
    console = Console(stderr=True, highlight=False)
    return console if console.is_terminal else Console(stderr=True, highlight=False, width=WIDE)


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


def decision_table(rows: Iterable[Row], *, with_truth: bool) -> Table:
    """One line for every decision; `with_truth` adds what the clip really shows and whether the verdict agrees."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    truth = ("truth",) if with_truth else ()
    for name in ("clip", *truth, "verdict", "issue", "route"):
        table.add_column(name, no_wrap=True)
    for name in ("risk / threshold", "probability", "evidence at", "latency"):
        table.add_column(name, justify="right", no_wrap=True)
    if with_truth:
        table.add_column("agrees")
    for row in rows:
        colour = COLOURS.get(row.verdict, "white")
        cells = [row.clip, *([row.truth] if with_truth else []), f"[{colour}]{row.verdict}[/]", row.issue, row.route]
        cells += [row.risk, row.probability, row.evidence, row.latency]
        table.add_row(*cells, *(["yes" if row.agrees else "no"] if with_truth else []))
    return table
