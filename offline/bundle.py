"""Writes the example clips and seeds that ship with the command line: the first ones of their splits, unchosen."""

import json
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console

from offline.demo_world.art import Art
from offline.demo_world.generate import generate
from offline.demo_world.scene import Pools
from offline.demo_world.splits import Counts, guilty_segment, scene_at
from offline.demo_world.taxonomy import ISSUES

CLIPS = Counts(violation=6, look_alike=5, other=5)
SEEDS_PER_ISSUE = 16


def bundle(art_folder: Path, work: Path, out: Path, console: Console, *, seed: int) -> None:
    """Fill `out/clips` from the test split and `out/seeds` from the bank split of the generator's seed."""
    clips = generate(art_folder, work / "clips", "test", CLIPS, console, seed=seed)
    rows = [json.loads(line) for line in clips.read_text(encoding="utf-8").splitlines()]
    keep = ("path", "kind", "issues", "title")
    _write(clips.parent, out / "clips", [{key: row[key] for key in keep} for row in rows])
    seeds = generate(
        art_folder, work / "seeds", "bank", Counts(violation=SEEDS_PER_ISSUE * len(ISSUES)), console, seed=seed
    )
    art = Art(art_folder)
    pools = Pools(art.neutral, art.others)
    seed_rows = []
    for index in range(SEEDS_PER_ISSUE * len(ISSUES)):
        issue = ISSUES[index % len(ISSUES)].id
        scene = scene_at(seed, "bank", "violation", index, pools)
        start, end = guilty_segment(scene, issue)
        seed_rows.append({"path": f"{scene.id}.mp4", "issue": issue, "kind": "golden", "start_s": start, "end_s": end})
    _write(seeds.parent, out / "seeds", seed_rows)


def _write(source: Path, target: Path, rows: list[dict[str, Any]]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for row in rows:
        shutil.copyfile(source / row["path"], target / row["path"])
    manifest = "".join(json.dumps(row) + "\n" for row in rows)
    (target / "manifest.jsonl").write_text(manifest, encoding="utf-8")
