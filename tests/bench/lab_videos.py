"""Videos of the demo world's test split: of the lab's folder, made where they are absent (which needs npm)."""

import os
from pathlib import Path

from rich.console import Console

from offline.demo_world.generate import generate
from offline.demo_world.splits import KINDS, Counts
from offline.manifest import Labelled, read_manifest


def lab_folder() -> Path:
    """Of the lab: `BENCH_LAB`, or where its commands put it."""
    return Path(os.environ.get("BENCH_LAB", "build/lab"))


def lab_videos(counts: Counts, console: Console) -> list[Labelled]:
    """The first videos of each kind in the test split; the same ones whatever else the folder holds."""
    lab = lab_folder()
    folder = lab / "videos" / "test"
    manifest = folder / "manifest.jsonl"
    wanted = {f"test-{kind}-{index:05d}.mp4" for kind in KINDS for index in range(counts.of(kind))}
    if not manifest.exists() or not wanted <= {video.file.name for video in read_manifest(manifest)}:
        manifest = generate(lab / "art", folder, "test", counts, console)
    return [video for video in read_manifest(manifest) if video.file.name in wanted]
