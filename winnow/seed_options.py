"""Options of the `winnow seeds` commands, and how an expiry is written."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, get_args

import typer

from services.contracts import SeedKind, SeedState
from winnow.options import MAX_TIMEOUT_S

CALL_TIMEOUT_S = 120.0

Url = Annotated[str | None, typer.Option(help="The gateway; default: WINNOW_URL, else what `winnow up` runs.")]
DataDir = Annotated[Path | None, typer.Option(help="Data directory; default: the user's data directory.")]
CallTimeout = Annotated[float, typer.Option(min=0.001, max=MAX_TIMEOUT_S, help="Seconds for one call.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
SeedArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Of the seed; its first digits do, four or more.", show_default=False)
]
Issue = Annotated[str | None, typer.Option(help="Of this issue alone.")]
Kind = Annotated[str | None, typer.Option(help=f"Kind of seed: {', '.join(get_args(SeedKind))}.")]
State = Annotated[str | None, typer.Option(help=f"{', '.join(get_args(SeedState))}; default: all but removed.")]
NewState = Annotated[
    str | None, typer.Option(help="paused, or active, which also lifts a quarantine and brings back a removed seed.")
]
Share = Annotated[float | None, typer.Option(help="Share of the videos that it is compared with, above 0 up to 1.")]
Expires = Annotated[
    str | None, typer.Option(help="When it is no longer searched for: 36h, 7d, 2w, an ISO date (UTC), or never.")
]
Note = Annotated[str | None, typer.Option(help="What other operators should know.")]
Version = Annotated[
    int | None, typer.Option(min=1, help="Only if the seed still has this version; default: the one it has now.")
]

_SPAN = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def expiry(text: str, now: datetime) -> datetime | None:
    """The point in time that `--expires` names; None for `never`.

    Args:
        text: a number of minutes, hours, days or weeks (`30m`, `36h`, `7d`, `2w`), or an ISO 8601 date, with or without
            a time, in UTC where it names no zone.
        now: with a zone.

    Raises:
        ValueError: it is none of these, or it has passed.
    """
    if text == "never":
        return None
    found = _SPAN.fullmatch(text)
    try:
        span = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None
        when = datetime.fromisoformat(text) if span is None else now + span
    except (OverflowError, ValueError) as error:
        raise ValueError(f"--expires {text!r} is no time: write 36h, 7d, 2w, 2026-12-31 or never.") from error
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    if when <= now:
        raise ValueError(f"--expires {text} has passed; --state paused stops a seed at once.")
    return when
