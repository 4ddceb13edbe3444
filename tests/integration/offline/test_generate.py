"""Splits written as real MP4s with their manifest."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from offline import bundle as bundling
from offline.cli import app
from offline.demo_world.art import Art
from offline.demo_world.encode import frames
from offline.demo_world.generate import generate
from offline.demo_world.scene import Pools, Scene
from offline.demo_world.splits import Counts, scene_at
from offline.demo_world.taxonomy import ISSUES, violated
from offline.manifest import read_manifest

COUNTS = Counts(violation=2, look_alike=1, other=1)
SEED = 77


@pytest.fixture(scope="module")
def split(art_folder: Path, tmp_path_factory: pytest.TempPathFactory, console: Console) -> Path:
    out = tmp_path_factory.mktemp("videos")
    return generate(art_folder, out, "test", COUNTS, console, seed=SEED, workers=1)


@pytest.fixture(scope="module")
def rows(split: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in split.read_text(encoding="utf-8").splitlines()]


def scenes(art: Art) -> Iterator[Scene]:
    pools = Pools(art.neutral, art.others)
    for kind, count in (("violation", 2), ("look_alike", 1), ("other", 1)):
        for index in range(count):
            yield scene_at(SEED, "test", kind, index, pools)  # type: ignore[arg-type]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.mp4")}


def test_the_manifest_tells_the_truth_about_every_video(art: Art, split: Path, rows: list[dict[str, Any]]) -> None:
    assert {path.name for path in split.parent.iterdir()} == {
        "manifest.jsonl",
        "seed.txt",
        *(row["path"] for row in rows),
    }
    for row, scene in zip(rows, scenes(art), strict=True):
        assert row["id"] == scene.id
        assert row["path"] == f"{scene.id}.mp4"
        assert (row["split"], row["kind"], row["style"], row["title"]) == ("test", scene.kind, scene.style, scene.title)
        assert row["issues"] == list(violated(tuple(frozenset(shot["objects"]) for shot in row["shots"])))
        assert (row["look_alike"], row["look_alike_of"]) == (scene.look_alike, scene.look_alike_of)
        times = [(shot["start_s"], shot["end_s"]) for shot in row["shots"]]
        assert times == [(shot.start_s, shot.end_s) for shot in scene.shots]
        assert row["duration_s"] == times[-1][1]
    assert [bool(row["issues"]) for row in rows] == [True, True, False, False]
    assert rows[2]["look_alike"] is not None


def test_a_folder_of_another_seed_is_refused(art_folder: Path, split: Path, console: Console) -> None:
    before = hashes(split.parent)
    with pytest.raises(RuntimeError, match="another seed"):
        generate(art_folder, split.parent, "test", COUNTS, console, seed=SEED + 1, workers=1)
    assert hashes(split.parent) == before


def test_videos_are_what_the_demo_world_says(split: Path, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        with av.open(str(split.parent / row["path"])) as container:
            (stream,) = container.streams
            assert stream.codec_context.name == "h264"
            assert stream.codec_context.pix_fmt == "yuv420p"
            assert (stream.codec_context.width, stream.codec_context.height) == (160, 160)
            assert stream.average_rate == 8
            pictures = list(container.decode(video=0))
        assert len(pictures) == round(row["duration_s"] * 8)
        assert [round(picture.time * 8) for picture in pictures] == list(range(len(pictures)))


def test_every_frame_shows_what_was_drawn(art: Art, split: Path) -> None:
    for scene in list(scenes(art))[:3]:
        drawn = list(frames(scene, art))
        with av.open(str(split.parent / f"{scene.id}.mp4")) as container:
            decoded = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
        errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(drawn, decoded, strict=True)]
        assert max(errors) < 12
        # A frame resembles itself more than the other end of the video.
        assert errors[0] < np.abs(drawn[0].astype(int) - decoded[-1]).mean()


def test_it_goes_on_where_it_stopped_and_writes_the_same_bytes(
    art_folder: Path, split: Path, console: Console, tmp_path: Path
) -> None:
    before, manifest = hashes(split.parent), split.read_bytes()
    kept, lost = sorted(split.parent.glob("*.mp4"))[:2]
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    lost.with_suffix(".part.mp4").write_bytes(b"what an interrupted run left")
    generate(art_folder, split.parent, "test", COUNTS, console, seed=SEED, workers=1)
    assert hashes(split.parent) == before
    assert kept.stat().st_mtime_ns == stamp
    assert split.read_bytes() == manifest


def test_a_longer_split_begins_with_the_shorter_one(art: Art, split: Path, rows: list[dict[str, Any]]) -> None:
    pools = Pools(art.neutral, art.others)
    assert scene_at(SEED, "test", "violation", 1, pools).id == rows[1]["id"]
    labelled = read_manifest(split)
    assert [video.file for video in labelled] == [split.parent / row["path"] for row in rows]
    assert [video.truth for video in labelled] == [frozenset(row["issues"]) for row in rows]
    assert all(video.file.is_file() for video in labelled)


def test_the_bundle_has_clips_and_the_guilty_segments_of_seeds(
    art: Art, art_folder: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "CLIPS", Counts(1, 1, 0))  # fewer, to be quick
    monkeypatch.setattr(bundling, "SEEDS_PER_ISSUE", 1)
    out = tmp_path / "bundled"
    bundling.bundle(art_folder, tmp_path / "work", out, console, seed=SEED)
    clips = [json.loads(line) for line in (out / "clips" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(clip["kind"], bool(clip["issues"])) for clip in clips] == [("violation", True), ("look_alike", False)]
    assert set(clips[0]) == {"path", "kind", "issues", "title"}
    seeds = [json.loads(line) for line in (out / "seeds" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [seed["issue"] for seed in seeds] == [issue.id for issue in ISSUES]
    pools = Pools(art.neutral, art.others)
    for index, seed in enumerate(seeds):
        assert seed["kind"] == "golden"
        shot = scene_at(SEED, "bank", "violation", index, pools).shot_at((seed["start_s"] + seed["end_s"]) / 2)
        assert seed["issue"] in violated((shot.names,))
        assert (shot.start_s, shot.end_s) == (seed["start_s"], seed["end_s"])
    for folder, manifest in ((out / "clips", clips), (out / "seeds", seeds)):
        assert {path.name for path in folder.glob("*.mp4")} == {row["path"] for row in manifest}


def test_the_command_refuses_a_split_that_is_not_there() -> None:
    result = CliRunner().invoke(app, ["world", "--split", "nowhere"])
    assert result.exit_code == 2
    assert "nowhere" in result.output


def test_the_command_writes_a_split(art_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "art").symlink_to(art_folder)
    arguments = ["world", "--split", "bank", "--violations", "1", "--look-alikes", "0", "--others", "0"]
    result = CliRunner().invoke(app, [*arguments, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    (video,) = read_manifest(tmp_path / "out" / "manifest.jsonl")
    assert video.file.name == "bank-violation-00000.mp4"
    assert video.truth == {"weapon_threat"}
