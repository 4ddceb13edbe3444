"""Asks a running gateway about labelled videos in mode `full` and writes the file of observations."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from offline.evaluation.collect import collect as ask
from offline.evaluation.store import Store
from offline.manifest import Labelled
from offline.tuning.observed import header_of, line_of, observed_of


def collect(
    url: str,
    videos: Sequence[Labelled],
    mix: Mapping[str, float] | None,
    out: Path,
    console: Console,
    *,
    api_key: SecretStr | None = None,
) -> None:
    """Ask about every video and write `out` when all are answered.

    Until then the answers stand in a file beside it, from which a second call goes on.

    Args:
        url: of the gateway.
        videos: of one manifest, their ids unique.
        mix: share of traffic of each kind; without it the manifest's own weights count.
        out: the file of observations.
        console: where progress goes.
        api_key: of the gateway.

    Raises:
        StoreError: the answers kept so far are of other models or another policy.
        ValueError: a decision lacks what tuning needs.
        WinnowError: the gateway refuses a video: a sample with holes would mislead.
    """
    answers = out.with_name(f"{out.name}.answers")
    with Store(answers) as store:
        found = asyncio.run(ask(url, videos, console, mix=mix, mode="full", store=store, api_key=api_key))
    rows = [observed_of(each.id, each.kind, each.weight, tuple(each.truth), each.decision) for each in found]
    part = out.with_name(f"{out.name}.part")
    part.write_text(line_of(header_of(found[0].decision)) + "".join(line_of(row) for row in rows), encoding="utf-8")
    part.replace(out)
    answers.unlink()
