"""Writes splits of the demo world as videos with a manifest: deterministic, parallel, resumable."""

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from offline.demo_world.art import Art
from offline.demo_world.encode import encode
from offline.demo_world.scene import Kind, Pools, Scene
from offline.demo_world.splits import DEFAULT_SEED, KINDS, Counts, Split, scene_at, styles_of
from offline.demo_world.variants import PLAIN, VARIANTS, Variant

_worker_art: dict[Path, Art] = {}


@dataclass(frozen=True)
class Job:
    """One video to write."""

    art_folder: Path
    out: Path
    seed: int
    split: Split
    kind: Kind
    index: int
    variant: str = PLAIN.name


def manifest_row(scene: Scene, split: Split, path: str, variant: Variant = PLAIN) -> dict[str, Any]:
    """One line of a manifest. Variants of a scene are a group, so that no split tears them apart."""
    plain = variant.name == PLAIN.name
    return {
        "id": scene.id if plain else f"{scene.id}.{variant.name}",
        "path": path,
        "split": split,
        "kind": scene.kind,
        "issues": list(scene.issues),
        "look_alike": scene.look_alike,
        "look_alike_of": scene.look_alike_of,
        "style": scene.style,
        "title": variant.title_of(scene),
        "duration_s": scene.duration_s,
        "group": scene.id,
        "variant": None if plain else variant.name,
        "shots": [
            {"start_s": shot.start_s, "end_s": shot.end_s, "objects": sorted(shot.names)} for shot in scene.shots
        ],
    }


def _write(job: Job) -> dict[str, Any]:
    art = _worker_art.get(job.art_folder)
    if art is None:
        art = _worker_art[job.art_folder] = Art(job.art_folder, styles_of(job.split))
    scene = scene_at(job.seed, job.split, job.kind, job.index, Pools(art.neutral, art.others))
    variant = VARIANTS[job.variant]
    name = scene.id if variant.name == PLAIN.name else f"{scene.id}.{variant.name}"
    path = job.out / f"{name}{variant.suffix}"
    if not path.exists():
        encode(scene, art, path, variant)
    return manifest_row(scene, job.split, path.name, variant)


def _claim(out: Path, seed: int) -> None:
    mark = out / "seed.txt"
    if mark.exists() and mark.read_text(encoding="utf-8").strip() != str(seed):
        raise RuntimeError(f"{out} holds videos of another seed; remove it or choose another folder")
    mark.write_text(f"{seed}\n", encoding="utf-8")


def generate(
    art_folder: Path,
    out: Path,
    split: Split,
    counts: Counts,
    console: Console,
    *,
    seed: int = DEFAULT_SEED,
    workers: int = 2,
    variants: Sequence[str] = (PLAIN.name,),
) -> Path:
    """Write a split and its manifest, and return the manifest's path. Videos that are there are kept.

    Args:
        art_folder: where the art is, or is fetched to.
        out: the folder of the videos and of manifest.jsonl.
        split: which scenes.
        counts: how many of each kind, from the first on.
        console: for progress.
        seed: of the generator.
        workers: processes.
        variants: names in VARIANTS; every scene is written in each.

    Raises:
        RuntimeError: the folder holds videos of another seed; their names are the same, their content is not.
    """
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, seed)
    Art(art_folder, styles_of(split))  # fetched here once, and not by every worker
    scenes = [(kind, index) for kind in KINDS for index in range(counts.of(kind))]
    jobs = [Job(art_folder, out, seed, split, kind, index, name) for name in variants for kind, index in scenes]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    rows = []
    context = multiprocessing.get_context("spawn")
    with Progress(*columns, console=console) as progress, ProcessPoolExecutor(workers, mp_context=context) as pool:
        task = progress.add_task(f"demo world: {split}", total=len(jobs))
        for row in pool.map(_write, jobs, chunksize=8):
            rows.append(row)
            progress.advance(task)
    manifest = out / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest
