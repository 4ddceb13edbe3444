"""Every variant of a scene is written, says what it is, and is read as it was drawn, by the services' own decoder."""

from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from offline.cli import app
from offline.demo_world.art import Art
from offline.demo_world.encode import encode, frames
from offline.demo_world.generate import generate
from offline.demo_world.scene import Pools, Scene
from offline.demo_world.splits import Counts, scene_at
from offline.demo_world.variants import PLAIN, VARIANTS
from offline.manifest import Labelled, read_manifest
from services.media import SamplingPlan
from services.media.decode import DecodedVideo, decode_frames

SEED = 78
SIZES = {"small": (96, 96), "large": (480, 480), "wide": (320, 180), "tall": (180, 320), "letterbox": (160, 240),
         "pillarbox": (284, 160)}  # fmt: skip
CODECS = {"vp9": "vp9", "hevc": "hevc"}


@pytest.fixture(scope="module")
def rows(art_folder: Path, tmp_path_factory: pytest.TempPathFactory, console: Console) -> dict[str, Labelled]:
    out = tmp_path_factory.mktemp("variants")
    manifest = generate(
        art_folder, out, "test", Counts(violation=1), console, seed=SEED, workers=1, variants=tuple(VARIANTS)
    )
    return {row.variant or PLAIN.name: row for row in read_manifest(manifest)}


@pytest.fixture(scope="module")
def scene(art: Art) -> Scene:
    return scene_at(SEED, "test", "violation", 0, Pools(art.neutral, art.others))


def read(file: Path) -> DecodedVideo:
    return decode_frames(file, plan=SamplingPlan(min_frames=8, max_frames=8))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_read_as_it_was_drawn(name: str, rows: dict[str, Labelled], art: Art, scene: Scene) -> None:
    variant, video = VARIANTS[name], read(rows[name].file)
    facts = video.facts
    assert (facts.width, facts.height) == SIZES.get(name, (160, 160))
    assert facts.video_codec == CODECS.get(name, "h264")
    assert ("webm" in facts.container) is (name == "vp9")
    assert facts.has_audio is (name == "sound")
    assert facts.duration_s == pytest.approx(scene.duration_s, abs=0.3)
    drawn, times = list(frames(scene, art, variant)), np.array(variant.times(scene))
    assert len(video.frames) == 8
    for time_s, frame in zip(video.times_s, video.frames, strict=True):
        expected = drawn[int(np.abs(times - time_s).argmin())]
        assert np.abs(expected.astype(int) - frame).mean() < 16


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_is_stored_turned_and_read_upright(degrees: int, art: Art, tmp_path: Path) -> None:
    variant, pools = VARIANTS["rotated"], Pools(art.neutral, art.others)
    scenes = (scene_at(SEED, "test", "other", index, pools) for index in range(50))
    scene = next(each for each in scenes if variant.rotation(each) == degrees)
    file = tmp_path / "turned.mp4"
    encode(scene, art, file, variant)
    with av.open(str(file)) as container:
        stored = next(container.decode(video=0))
        assert stored.rotation % 360 == degrees
        raw = stored.to_ndarray(format="rgb24").astype(int)
    upright = next(frames(scene, art)).astype(int)
    wrong = np.abs(raw - upright).mean()
    assert wrong > 2 * np.abs(np.rot90(raw, degrees // 90) - upright).mean()
    assert wrong > 2 * np.abs(read(file).frames[0].astype(int) - upright).mean()


def test_frames_of_a_variable_rate_have_their_own_distances(rows: dict[str, Labelled]) -> None:
    with av.open(str(rows["vfr"].file)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    gaps = np.diff(np.array(times, dtype=float))
    assert gaps.min() >= 0.039
    assert gaps.max() <= 0.251
    assert np.ptp(gaps) > 0.1


def test_the_manifest_names_variant_and_scene(rows: dict[str, Labelled], scene: Scene) -> None:
    assert set(rows) == set(VARIANTS)
    assert (rows["plain"].id, rows["plain"].group, rows["plain"].variant) == (scene.id, scene.id, None)
    for name in set(VARIANTS) - {"plain"}:
        assert (rows[name].id, rows[name].group) == (f"{scene.id}.{name}", scene.id)
        assert rows[name].truth == frozenset(scene.issues)
    assert rows["untitled"].title == ""
    names = {name for shot in scene.shots for name in shot.names}
    assert all(name.replace("_", " ").replace("-", " ") in rows["titled"].title for name in names)


def test_heavy_compression_is_heavy(rows: dict[str, Labelled]) -> None:
    assert rows["compressed"].file.stat().st_size < 0.6 * rows["plain"].file.stat().st_size


@pytest.mark.parametrize("name", ["plain", "tall", "vp9", "hevc", "sound"])
def test_the_same_bytes_every_time(
    name: str, art: Art, scene: Scene, rows: dict[str, Labelled], tmp_path: Path
) -> None:
    variant = VARIANTS[name]
    for number in range(3):
        again = tmp_path / f"{number}{variant.suffix}"
        encode(scene, art, again, variant)
        assert again.read_bytes() == rows[name].file.read_bytes()


def test_the_command_lists_variants_and_writes_them(art_folder: Path, tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["world", "--variant", "sepia"])
    assert refused.exit_code == 2
    (tmp_path / "art").symlink_to(art_folder)
    counts = ["--violations", "1", "--look-alikes", "0", "--others", "0", "--work", str(tmp_path), "--workers", "1"]
    result = CliRunner().invoke(app, ["world", "--variant", "small", "--variant", "vp9", *counts])
    assert result.exit_code == 0, result.output
    written = read_manifest(tmp_path / "videos" / "test-variants" / "manifest.jsonl")
    assert [row.variant for row in written] == ["small", "vp9"]
    result = CliRunner().invoke(app, ["world", *counts, "--seed", "5"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(app, ["world", *counts, "--seed", "6"])
    assert result.exit_code == 1
    assert "another seed" in result.output
    assert "Traceback" not in result.output
