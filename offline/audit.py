"""What a manifest holds, and what is wrong with it: balance, durations, duplicates, leaks between splits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offline.duplicates import Looked, look_at_all, same_bytes, same_group, same_look
from offline.manifest import Labelled

Sameness = Literal["bytes", "look", "group"]
SHOWN = 10
_WORDS: dict[Sameness, str] = {"bytes": "the same bytes", "look": "the same look", "group": "the same group"}


@dataclass(frozen=True)
class Twins:
    """Videos that are the same in a way.

    Attributes:
        how: equal bytes, near-duplicates by perceptual hash, or the manifest's `group`.
        ids: at least two.
        splits: that they lie in; a leak where there are several.
        contrary: whether they are the same video and their labels differ.
    """

    how: Sameness
    ids: tuple[str, ...]
    splits: tuple[str, ...]
    contrary: bool

    @property
    def leaks(self) -> bool:
        """Whether one split tells about another."""
        return len(self.splits) > 1


@dataclass(frozen=True)
class Audit:
    """The report; videos are named by their ids.

    Attributes:
        videos: number of videos of each split and kind.
        issues: number of violations of each split and issue.
        durations_s: quantiles 0, 0.05, 0.5, 0.95, 1 by split; empty where no video can be decoded.
        twins: groups of equal bytes and of equal looks, and the manifest's groups that lie in several splits.
        broken: videos that cannot be decoded, and why.
    """

    videos: dict[str, dict[str, int]]
    issues: dict[str, dict[str, int]]
    durations_s: dict[str, list[float]]
    twins: tuple[Twins, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()

    @property
    def leaks(self) -> tuple[Twins, ...]:
        """Groups that lie in several splits."""
        return tuple(each for each in self.twins if each.leaks)

    @property
    def clean(self) -> bool:
        """Whether nothing leaks and every video can be decoded."""
        return not self.leaks and not self.broken

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {**asdict(self), "leaks": len(self.leaks), "clean": self.clean, "broken": dict(self.broken)}


def audit(rows: Sequence[Labelled], console: Console, *, workers: int = 2) -> Audit:
    """Read every video once and report."""
    return report(rows, look_at_all(rows, console, workers=workers))


def report(rows: Sequence[Labelled], looked: Sequence[Looked]) -> Audit:
    """The report on rows and, in the same order, what their files tell."""
    splits = sorted({row.split for row in rows})
    seconds = {
        split: [
            each.duration_s for each, row in zip(looked, rows, strict=True) if row.split == split and not each.error
        ]
        for split in splits
    }
    groups: list[tuple[Sameness, list[int]]] = [("bytes", group) for group in same_bytes(looked)]
    groups += [("look", group) for group in same_look(looked)]
    groups += [("group", group) for group in same_group(rows)]
    twins = [_twins(rows, how, group) for how, group in groups]
    return Audit(
        videos={s: dict(sorted(Counter(r.kind for r in rows if r.split == s).items())) for s in splits},
        issues={s: dict(sorted(Counter(i for r in rows if r.split == s for i in r.truth).items())) for s in splits},
        durations_s={
            split: [float(q) for q in np.quantile(values, [0, 0.05, 0.5, 0.95, 1])] if values else []
            for split, values in seconds.items()
        },
        twins=tuple(each for each in twins if each.how != "group" or each.leaks),
        broken=tuple((row.id, each.error) for row, each in zip(rows, looked, strict=True) if each.error),
    )


def _twins(rows: Sequence[Labelled], how: Sameness, group: Sequence[int]) -> Twins:
    members = [rows[index] for index in group]
    contrary = how != "group" and len({row.truth for row in members}) > 1
    return Twins(how, tuple(row.id for row in members), tuple(sorted({row.split for row in members})), contrary)


def show(found: Audit, console: Console) -> None:
    """Tables for people."""
    for title, counted in (("Videos", found.videos), ("Violations by issue", found.issues)):
        names = sorted({name for row in counted.values() for name in row})
        if names:
            console.print(counts_table(title, names, counted))
    table = Table("split", title="Seconds")
    for name in ("least", "5 %", "median", "95 %", "most"):
        table.add_column(name, justify="right")
    for split, quantiles in found.durations_s.items():
        table.add_row(escape(split) or "-", *(f"{value:.1f}" for value in quantiles))
    console.print(table)
    how: Sameness
    for how in ("bytes", "look"):
        _list(console, f"groups of {_WORDS[how]}", [_line(each) for each in found.twins if each.how == how])
    _list(console, "groups of one video with different labels", [_line(each) for each in found.twins if each.contrary])
    _list(console, "leaks between splits", [f"{_line(each)} ({_WORDS[each.how]})" for each in found.leaks])
    _list(console, "broken videos", [f"{name}: {error}" for name, error in found.broken])


def counts_table(title: str, names: Sequence[str], counted: Mapping[str, Mapping[str, int]]) -> Table:
    """Splits across, names down: there may be many issues."""
    table = Table("", title=title)
    for split in counted:
        table.add_column(escape(split) or "-", justify="right")
    for name in names:
        table.add_row(escape(name), *(str(row.get(name, 0)) for row in counted.values()))
    return table


def _line(twins: Twins) -> str:
    more = len(twins.ids) - SHOWN
    return ", ".join(twins.ids[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _list(console: Console, what: str, lines: Sequence[str]) -> None:
    console.print(f"{len(lines)} {what}")
    for line in lines[:SHOWN]:
        console.print(f"  {line}", markup=False, highlight=False)
    if len(lines) > SHOWN:
        console.print(f"  and {len(lines) - SHOWN} more")
