"""Choosing seeds by the command, and both comparisons, on toy splits and the bundled router."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from offline.commands.seeds import app
from offline.demo_world.art import Art
from offline.demo_world.splits import Counts
from offline.demo_world.taxonomy import ISSUES
from offline.manifest import read_manifest
from offline.selection import kinds_report, seeds_report
from offline.selection.banks import IDS
from offline.selection.command import select
from offline.selection.compare_seeds import compare_seeds
from offline.selection.negatives import negatives
from offline.selection.one_frame import one_frame
from offline.selection.pool import embed_pool, violating
from offline.selection.reuploads import FORMS, reuploads
from offline.selection.texts import texts
from offline.selection.world import World
from offline.stages import ROUTER_MODEL, SEED_FRAMES, SHORT_SIDE
from services.encoder.open_clip import load_encoder
from tests.integration.offline.router.conftest import write_split
from winnow.seeds import read_manifest as read_seed_manifest

TEST = Counts(16, 8, 4)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, art: Art, art_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("selection")
    (folder / "art").symlink_to(art_folder, target_is_directory=True)
    videos = folder / "videos"
    write_split(videos / "bank", "bank", art, (("violation", 3 * len(ISSUES)),))
    write_split(videos / "test", "test", art, (("violation", 16), ("look_alike", 8), ("other", 4)))
    write_split(videos / "calibration", "calibration", art, (("violation", 8), ("look_alike", 20), ("other", 6)))
    return folder


@pytest.fixture(scope="module")
def world(work: Path, console: Console) -> World:
    return World(
        work, ROUTER_MODEL, console, seed_frames=SEED_FRAMES, short_side=SHORT_SIDE,
        clean_counts=Counts(look_alike=2, other=4), seed=1,
    )  # fmt: skip


def run(*arguments: object) -> Result:
    commands = typer.Typer()
    commands.command()(select)
    return CliRunner().invoke(commands, [str(each) for each in arguments])


def test_the_command_writes_a_manifest_that_the_bank_reads(work: Path, tmp_path: Path) -> None:
    bank = work / "videos" / "bank" / "manifest.jsonl"
    result = run(bank, "--out", tmp_path / "seeds", "--count", 2, "--near-duplicate", 1, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["encoder"] == load_encoder(str(ROUTER_MODEL)).fingerprint
    assert [(each["issue"], each["pool"], each["seeds"]) for each in told["issues"]] == [
        (issue, 3, 2) for issue in sorted(IDS)
    ]
    rows = read_seed_manifest(tmp_path / "seeds")
    assert len(rows) == 2 * len(ISSUES)
    shots = {(row.file.resolve(), shot.start_s, shot.end_s) for row in read_manifest(bank) for shot in row.shots}
    assert {((tmp_path / "seeds" / str(row.path)).resolve(), row.start_s, row.end_s) for row in rows} <= shots


def test_the_command_shows_people_a_table_and_leaves_out_what_cannot_be_decoded(
    work: Path, tmp_path: Path
) -> None:  # fmt: skip
    source = work / "videos" / "bank"
    rows = [json.loads(line) for line in (source / "manifest.jsonl").read_text().splitlines()]
    arson = [row for row in rows if row["issues"] == ["arson"]]
    for row in arson:
        (tmp_path / row["path"]).write_bytes((source / row["path"]).read_bytes())
    (tmp_path / arson[0]["path"]).write_bytes(b"no video")
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in arson))
    # Rich would take the end of this name for markup.
    out = tmp_path / "seeds[" / "x]"
    result = run(tmp_path / "own.jsonl", "--out", out, "--copy", "--issue", "arson")
    assert result.exit_code == 0, result.output
    assert "arson" in result.stdout
    assert f"wrote {out / 'manifest.jsonl'}" in result.stdout
    assert f"left out: {tmp_path / arson[0]['path']}" in result.stderr
    assert len(list(out.glob("*.mp4"))) == len(read_seed_manifest(out))


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--issue", "arsen"], "'arsen' is no issue"), (["--split", "train"], "no video is of the")]
)
def test_wrong_input_is_told(work: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    bank = work / "videos" / "bank" / "manifest.jsonl"
    result = run(bank, "--out", tmp_path / "seeds", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not (tmp_path / "seeds").exists()


def test_a_pool_is_seen_as_seeds_are(work: Path, world: World, console: Console) -> None:
    rows = read_manifest(work / "videos" / "bank" / "manifest.jsonl")
    segments = violating(rows, frames=SEED_FRAMES)
    pool = embed_pool(load_encoder(str(ROUTER_MODEL)), segments[:3], console, short_side=SHORT_SIDE)
    assert np.abs(pool.vectors - world.bank(3).means[:3]).max() < 1e-5
    assert np.linalg.norm(pool.vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    with pytest.raises(ValueError, match="no video of the manifest violates"):
        violating([row for row in rows if not row.truth], frames=4)


def test_seeds_are_compared(world: World, console: Console, tmp_path: Path) -> None:
    found = compare_seeds(world, console, sizes=[1, 3], counts=TEST, draws=2, rounds=3)
    assert [each.space for each in found.spaces] == ["served", "caption"]
    served = found.spaces[0].found
    assert [(each.method, each.asked, len(each.over_random)) for each in served][:3] == [
        ("random", 1, 0), ("centroid-proximity", 1, 3), ("farthest-first", 1, 3),
    ]  # fmt: skip
    assert served != found.spaces[1].found
    everything = served[-1]
    assert everything.method == "all"
    assert everything.nearest == pytest.approx(1.0)
    three = next(each for each in served if (each.method, each.asked) == ("random", 3))
    assert three.recall == everything.recall, "there are three to choose from"
    assert len(three.draws) == 2
    seeds_report.write(found, "winnow lab compare-seeds", tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"selection.md", "selection.json", "selection.png"}


def test_kinds_are_compared(world: World, tmp_path: Path) -> None:
    traffic = world.traffic(world.rows("test", TEST), "looking")
    pool = world.bank(2)
    places = {issue: pool.of(issue)[:2] for issue in IDS}
    golden = pool.bank(places)
    assert {issue: len(own) for issue, own in golden.items()} == dict.fromkeys(IDS, 2 * SEED_FRAMES)
    known = world.calibration(Counts(8, 20, 6), known=16)
    files = [{row.file for row in part} for part in (known.look_alikes, known.tuning.rows)]
    assert len(files[0]) == 16
    assert not files[0] & files[1]
    less = negatives(world, known, traffic, golden, count=1, rounds=2)
    back = reuploads(world, known, traffic, golden, rounds=2)
    assert (back.candidates, back.videos) == (16, back.marked * len(FORMS))
    assert back.rows[0].rule is None
    assert less.seeds["1 nearest"] == dict.fromkeys(IDS, 1)
    assert less.seeds["all"] == dict.fromkeys(IDS, 2)
    assert [row.rule is None for row in less.rows] == [True, False, False, False]
    brief = one_frame(world, traffic, pool, places, rounds=2)
    assert brief[0].videos == 16
    assert brief[-1].name == "cut until in one sampled frame"
    encoder = load_encoder(str(ROUTER_MODEL))
    caught = texts(world, encoder, ROUTER_MODEL, traffic, golden, rounds=2) if encoder.supports_text else None
    kinds = kinds_report.Kinds(encoder.fingerprint, 2, TEST, less, back, brief, caught)
    text = kinds_report.write(kinds, "winnow lab compare-kinds", tmp_path).read_text(encoding="utf-8")
    assert "without negatives" in text
    assert "| all violations | by frame | 16 |" in text
    assert ("a house on fire" in text) is encoder.supports_text
    json.loads((tmp_path / "kinds.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compare-seeds", "--model", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert str(tmp_path) in result.stderr
