"""Writes splits of the demo world as videos with a manifest: deterministic, parallel, resumable."""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from offline.demo_world.art import Art
from offline.demo_world.render import background, draw
from offline.demo_world.scene import FPS, WORLD_SIZE, Kind, Pools, Scene
from offline.demo_world.splits import DEFAULT_SEED, KINDS, Counts, Split, scene_at, styles_of

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


def frames(scene: Scene, art: Art) -> Iterator[np.ndarray]:
    """All frames of a scene, uint8 [WORLD_SIZE, WORLD_SIZE, 3]."""
    for shot in scene.shots:
        backdrop = background(shot.background)
        for number in range(round(shot.start_s * FPS), round(shot.end_s * FPS)):
            yield draw(shot, scene.style, number / FPS, art, backdrop=backdrop)


def encode(scene: Scene, art: Art, path: Path, *, crf: int = 27) -> None:
    """Write a scene as an H.264 MP4, yuv420p, WORLD_SIZE pixels square, FPS frames a second."""
    temporary = path.with_suffix(".part.mp4")
    with av.open(str(temporary), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(FPS), options={"crf": str(crf), "preset": "medium", "threads": "1"}
        )
        stream.width = stream.height = WORLD_SIZE
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 2 * FPS
        for picture in frames(scene, art):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    temporary.replace(path)


def manifest_row(scene: Scene, split: Split, path: str) -> dict[str, Any]:
    """One line of a manifest."""
    return {
        "id": scene.id,
        "path": path,
        "split": split,
        "kind": scene.kind,
        "issues": list(scene.issues),
        "look_alike": scene.look_alike,
        "look_alike_of": scene.look_alike_of,
        "style": scene.style,
        "title": scene.title,
        "duration_s": scene.duration_s,
        "shots": [
            {"start_s": shot.start_s, "end_s": shot.end_s, "objects": sorted(shot.names)} for shot in scene.shots
        ],
    }  # fmt: skip


def _write(job: Job) -> dict[str, Any]:
    art = _worker_art.get(job.art_folder)
    if art is None:
        art = _worker_art[job.art_folder] = Art(job.art_folder, styles_of(job.split))
    scene = scene_at(job.seed, job.split, job.kind, job.index, Pools(art.neutral, art.others))
    path = job.out / f"{scene.id}.mp4"
    if not path.exists():
        encode(scene, art, path)
    return manifest_row(scene, job.split, path.name)


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
) -> Path:
    """Write a split and its manifest, and return the manifest's path. Videos that are there are kept.

    Raises:
        RuntimeError: the folder holds videos of another seed; their names are the same, their content is not.
    """
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, seed)
    Art(art_folder, styles_of(split))  # fetched here once, and not by every worker
    jobs = [Job(art_folder, out, seed, split, kind, i) for kind in KINDS for i in range(counts.of(kind))]
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
