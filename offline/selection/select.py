"""Seeds of every issue, chosen from a pool, and the seed manifest that the bank is filled from."""

import json
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from offline.router.segments import Segment
from offline.selection.choose import Floats32, Method, choose, distinct
from offline.selection.clusters import Sweep, number_of_clusters
from offline.selection.pool import Pool

NEAR_DUPLICATE = 0.995
"""Cosine of the mean vectors of two segments above which one of them is enough."""
MOST = 256
"""Seeds of an issue, where their number comes from the data."""


@dataclass(frozen=True)
class Chosen:
    """The seeds of one issue.

    Attributes:
        issue: id.
        pool: segments that there were.
        distinct: of those, how many are neither copies nor near-duplicates of an earlier one.
        seeds: the chosen segments with the hash of their file, those of large clusters first.
        sweep: the numbers of clusters that were tried; None where the number was given or there are no clusters.
        nearest: mean over the pool of the cosine with the nearest seed: how well the seeds stand for it.
    """

    issue: str
    pool: int
    distinct: int
    seeds: tuple[tuple[Segment, str], ...]
    sweep: Sweep | None
    nearest: float


def select_seeds(
    pool: Pool, method: Method, *, count: int | None, most: int = MOST, near_duplicate: float = NEAR_DUPLICATE,
    seed: int = 0, issues: Collection[str] = (),
) -> list[Chosen]:  # fmt: skip
    """Choose seeds of every issue that the pool has segments of, or of the named ones.

    Args:
        pool: embedded segments.
        method: one of `choose.METHODS`.
        count: seeds of an issue; None: as many as `number_of_clusters` says, whatever the method.
        most: how many are tried at most.
        near_duplicate: cosine above which a segment is a near-duplicate of an earlier one.
        seed: of every choice.
        issues: ids; empty: all.
    """
    return [
        _of_issue(pool, issue, method, count, most, near_duplicate, seed)
        for issue in pool.issues
        if not issues or issue in issues
    ]


def _of_issue(
    pool: Pool, issue: str, method: Method, count: int | None, most: int, near_duplicate: float, seed: int
) -> Chosen:
    own = pool.of(issue)
    kept = own[distinct(pool.vectors[own], [pool.copies[place] for place in own], threshold=near_duplicate)]
    vectors = pool.vectors[kept]
    sweep = number_of_clusters(vectors, most, seed=seed) if count is None and method != "all" else None
    wanted = sweep.count if sweep else count or len(kept)
    places = kept[choose(method, vectors, wanted, seed=seed)]
    return Chosen(
        issue, len(own), len(kept), tuple((pool.segments[place], pool.copies[place][0]) for place in places.tolist()),
        sweep, _nearest(pool.vectors[own], pool.vectors[places]),
    )  # fmt: skip


def _nearest(pool: Floats32, seeds: Floats32) -> float:
    return float(np.mean((pool @ seeds.T).max(axis=1)))


def write_seeds(chosen: list[Chosen], method: Method, out: Path, *, copy: bool) -> Path:
    """Write `manifest.jsonl` as `winnow seeds import` and `winnow seeds load` read it; gives its path.

    Args:
        chosen: seeds of the issues.
        method: `centroid-proximity` gives seeds of kind `centroid`, any other one `golden`.
        out: the folder; a manifest that is there is replaced once the new one is whole.
        copy: put the videos beside the manifest, named by their hashes, so that the folder can be moved; else the
            manifest's paths lead to where they are.
    """
    out.mkdir(parents=True, exist_ok=True)
    kind = "centroid" if method == "centroid-proximity" else "golden"
    lines = []
    for issue in chosen:
        for segment, digest in issue.seeds:
            clip = segment.clip
            path = Path(f"{digest[:32]}{clip.file.suffix}") if copy else _relative(clip.file, out)
            if copy and not (out / path).exists():
                _copy(clip.file, out / path)
            row = {"path": path.as_posix(), "issue": issue.issue, "kind": kind, "start_s": clip.start_s}
            lines.append(json.dumps(row if clip.end_s is None else {**row, "end_s": clip.end_s}) + "\n")
    manifest = out / "manifest.jsonl"
    part = _part(manifest)
    part.write_text("".join(lines), encoding="utf-8")
    part.replace(manifest)
    return manifest


def _copy(file: Path, to: Path) -> None:
    # A copy that is there is not made again: it gets its name when it is whole.
    part = _part(to)
    shutil.copyfile(file, part)
    part.replace(to)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _relative(file: Path, folder: Path) -> Path:
    return Path(os.path.relpath(file.resolve(), folder.resolve()))
