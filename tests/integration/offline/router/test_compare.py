"""The comparison of recipes by the command, on toy splits and the bundled router."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from offline.commands.router import app
from offline.router.views import Clip, Viewer, frames_of
from offline.stages import ROUTER_MODEL
from services.encoder.open_clip import load_encoder


def test_the_command_writes_the_report(work: Path, tmp_path: Path) -> None:
    args = ["compare-router", "--work", str(work), "--seeds", "1", "--rounds", "5", "--out", str(tmp_path / "results")]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    read = json.loads((tmp_path / "results" / "router.json").read_text(encoding="utf-8"))
    assert read["command"] == "winnow lab compare-router --seeds 1"
    assert read["fingerprint"] == load_encoder(str(ROUTER_MODEL)).fingerprint
    assert read["counts"]["test"] == {"violation": 16, "look_alike": 8, "other": 4}
    assert len(read["measured"]["test"]) == len(read["measured"]["test_openmoji"]) == 7
    assert (tmp_path / "results" / "router_test_openmoji.png").exists()


@pytest.fixture
def clips(manifest: Path) -> list[Clip]:
    files = sorted(manifest.parent.glob("*.mp4"))
    return [Clip(files[0]), Clip(files[1], 0.5, 1.5, 3), Clip(files[2], frames=2)]


def test_views_are_what_the_encoder_gives_and_are_computed_once(
    clips: list[Clip], tmp_path: Path, console: Console
) -> None:
    viewer = Viewer(str(ROUTER_MODEL), short_side=336, cache=tmp_path)
    views = viewer.look(clips, "looking", console)
    frames = [frames_of(clip, short_side=336) for clip in clips]
    assert [int((views.owner == i).sum()) for i in range(3)] == [len(own) for own in frames] == [8, 3, 2]
    served = load_encoder(str(ROUTER_MODEL)).embed_images([frame for own in frames for frame in own])
    assert np.abs(views.head - served).max() < 1e-5
    assert views.tags.shape == (13, len(viewer.tags))
    stored = list(tmp_path.rglob("*.npz"))
    before = [path.stat().st_mtime_ns for path in stored]
    again = viewer.look(clips, "looking", console)
    assert (again.pooled == views.pooled).all()
    assert [path.stat().st_mtime_ns for path in stored] == before
    viewer.look(clips[:2], "looking", console)
    assert len(list(tmp_path.rglob("*.npz"))) == len(stored) + 1, "other clips, another file"


def test_a_model_without_a_head_is_a_plain_clip(clips: list[Clip], tmp_path: Path, console: Console) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(ROUTER_MODEL, plain, ignore=shutil.ignore_patterns("head.*"))
    views = Viewer(str(plain), short_side=336, cache=tmp_path).look(clips[2:], "looking", console)
    served = load_encoder(str(plain)).embed_images(frames_of(clips[2], short_side=336))
    assert views.head.shape == views.tags.shape == (2, 0)
    assert np.abs(views.pooled - served).max() < 1e-5
