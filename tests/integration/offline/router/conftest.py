"""A few toy videos of each kind with a manifest, as the splits of the demo world."""

import json
from pathlib import Path

import pytest

from offline.demo_world.art import Art
from offline.demo_world.encode import encode
from offline.demo_world.generate import manifest_row
from offline.demo_world.scene import Kind, Pools
from offline.demo_world.splits import Split, scene_at
from offline.demo_world.taxonomy import ISSUES

SHARES: tuple[tuple[Kind, int], ...] = (("violation", 16), ("look_alike", 8), ("other", 4))


def write_split(folder: Path, split: Split, art: Art, shares: tuple[tuple[Kind, int], ...] = SHARES) -> Path:
    """The manifest of the first videos of a split."""
    folder.mkdir(parents=True)
    rows = []
    for kind, count in shares:
        for index in range(count):
            scene = scene_at(1, split, kind, index, Pools(art.neutral, art.others))
            encode(scene, art, folder / f"{scene.id}.mp4")
            rows.append(manifest_row(scene, split, f"{scene.id}.mp4"))
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder / "manifest.jsonl"


@pytest.fixture(scope="package")
def manifest(tmp_path_factory: pytest.TempPathFactory, art: Art) -> Path:
    return write_split(tmp_path_factory.mktemp("split") / "calibration", "calibration", art)


@pytest.fixture(scope="package")
def work(tmp_path_factory: pytest.TempPathFactory, art: Art, manifest: Path) -> Path:
    """A work folder that has all splits; the toy art has no held-out style, so that one split stands for two."""
    folder = tmp_path_factory.mktemp("work")
    write_split(folder / "videos" / "bank", "bank", art, (("violation", len(ISSUES)),))
    for split in ("test", "test_openmoji"):
        (folder / "videos" / split).symlink_to(manifest.parent, target_is_directory=True)
    return folder
