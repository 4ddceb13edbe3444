"""Which videos a command is about: those of a manifest, or a sample of the demo world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from offline.demo_world.generate import generate
from offline.demo_world.splits import SPLITS, Counts
from offline.evaluation.sample import demo_mix, parse_mix
from offline.manifest import Labelled, read_manifest


@dataclass(frozen=True)
class Chosen:
    """Labelled videos and the share of traffic that each kind has; `mix` is None for the manifest's own weights."""

    rows: Sequence[Labelled]
    manifest: str
    mix: Mapping[str, float] | None
    synthetic: bool


def choose(
    manifest: Path | None, split: str | None, mix: Sequence[str], counts: Counts, work: Path, console: Console
) -> Chosen:
    """The videos of a manifest (of one split, if it is named), or of a split of the demo world, made where missing.

    Args:
        manifest: JSONL or CSV; None for the demo world.
        split: name; of the demo world `test` if None.
        mix: see parse_mix; if empty, the demo world's own, or the manifest's weights.
        counts: of the demo world's sample.
        work: the lab's folder, with the demo world's art and videos.
        console: where progress goes.

    Raises:
        ValueError: the manifest, the mix or the split cannot be used.
    """
    shares = parse_mix(mix)
    if manifest is not None:
        rows = read_manifest(manifest, splits=None if split is None else [split])
        return Chosen(rows, str(manifest), shares, synthetic=shares == demo_mix())
    name = next((each for each in SPLITS if each == (split or "test")), None)
    if name is None:
        raise ValueError(f"{split!r} is none of {', '.join(SPLITS)}; name a manifest for videos of your own")
    made = generate(work / "art", work / "videos" / name, name, counts, console)
    return Chosen(read_manifest(made), f"demo world, split {name}", shares or demo_mix(), synthetic=True)
