"""The commands about data, as a user calls them: what they write, exit codes, and messages instead of tracebacks."""

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from offline.commands.data import app, parse_shares
from offline.manifest import read_manifest
from tests.media_factory import render
from tests.unit.offline.test_duplicates import scribble

POLICY = """
name: fires
version: "1"
issues:
  - {id: arson, name: arson, definition: fire at a house, router: {threshold: 0.5}, actions: {review: 0.5, block: 0.9}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "policy.yaml").write_text(POLICY)
    rows = []
    for number in range(6):
        seed = 0 if number == 5 else number  # the last one looks like the first
        render(folder / f"{number}.mp4", lambda i, seed=seed: scribble(seed, i), frames=8, gop=4 + number)
        issues = ["arson"] if number in {0, 1, 5} else []
        rows.append({"path": f"{number}.mp4", "issues": issues, "split": "test" if number == 5 else "train"})
    (folder / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(*arguments: object) -> Result:
    whole = typer.Typer()
    whole.add_typer(app)
    result = CliRunner().invoke(whole, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_audit_tells_the_leak_and_writes_a_balanced_subset(folder: Path, tmp_path: Path) -> None:
    own = ("--policy", folder / "policy.yaml", "--workers", 1)
    out, subset = tmp_path / "deep" / "audit.json", tmp_path / "subset.jsonl"
    result = run("audit", folder / "videos.jsonl", *own, "--out", out, "--balanced-out", subset)
    assert result.exit_code == 1
    assert "1 leaks between splits" in result.output
    assert json.loads(out.read_text())["leaks"] == 1
    rows = read_manifest(subset)
    assert sorted(bool(row.issues) for row in rows) == [False, False, True, True]
    assert not {"0.mp4", "5.mp4"} <= {row.id for row in rows}
    clean = run("audit", subset, *own)
    assert clean.exit_code == 0, clean.output


def test_audit_looks_across_manifests(folder: Path, tmp_path: Path) -> None:
    for name, video in (("train", "0.mp4"), ("test", "5.mp4")):
        row = {"path": str(folder / video), "id": video, "split": name, "issues": ["arson"]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    own = ("--policy", folder / "policy.yaml", "--workers", 1)
    result = run("audit", tmp_path / "train.jsonl", tmp_path / "test.jsonl", *own)
    assert result.exit_code == 1
    assert "1 leaks between splits\n  0.mp4, 5.mp4 (the same look)" in result.output


def test_split_gives_splits_without_leaks(folder: Path, tmp_path: Path) -> None:
    own = ("--policy", folder / "policy.yaml", "--workers", 1)
    out = tmp_path / "split.jsonl"
    result = run("split", folder / "videos.jsonl", *own, "--out", out, "--shares", "train=0.5,test=0.5")
    assert result.exit_code == 0, result.output
    assert any("arson" in line and "train" not in line for line in result.output.splitlines()), "issues go down"
    rows = {row.id: row for row in read_manifest(out)}
    assert rows["0.mp4"].split == rows["5.mp4"].split
    assert {row.split for row in rows.values()} == {"train", "test"}


def test_datasets_of_own_videos(folder: Path, tmp_path: Path) -> None:
    own = ("--policy", folder / "policy.yaml", "--out", tmp_path / "data")
    result = run("datasets", folder / "videos.jsonl", *own)
    assert result.exit_code == 1
    assert "no video has a caption, of which D2 is made; add them to the manifest, or leave it out: --without d2" in (
        result.output
    )
    result = run("datasets", folder / "videos.jsonl", *own, "--without", "d1", "--without", "d2", "--template", "P4")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (tmp_path / "data" / "d3.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert all((tmp_path / "data" / line["video"]).is_file() for line in lines)
    assert not any(line["video"].endswith("5.mp4") for line in lines), "it is of the split test"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["audit", "missing.jsonl"], 1, "it cannot be read"),
        (["audit", "{}/videos.jsonl", "--policy", "{}/videos.jsonl"], 1, "videos.jsonl"),
        (["audit", "{}/videos.jsonl", "--policy", "{}/policy.yaml", "--workers", "1", "--balanced-out", "x.csv"], 1,
         "written as .jsonl"),
        (["split", "{}/videos.jsonl", "--out", "x.jsonl", "--shares", "train=0.8"], 1, "the shares sum to 0.8"),
        (["datasets", "{}/videos.jsonl", "--out", "x", "--template", "P9"], 2, "P9"),
        (["datasets", "{}/videos.jsonl", "--out", "x", "--without", "d9"], 2, "d9"),
        (["datasets", "{}/videos.jsonl", "--out", "x", "--split", "none"], 1, "choose by --split"),
        (["datasets", "{}/videos.jsonl", "--out", "x", "--demo-world"], 1, "no manifest of the demo world"),
    ],
)  # fmt: skip
def test_wrong_input_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*(each.format(folder) for each in arguments))
    assert result.exit_code == code
    assert reason in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["", "train", "train=x", "train=0.5,train=0.5", "=1", "train=0,test=1", "train=-1,test=2", "train=nan"]
)
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="share"):
        parse_shares(text)


def test_shares() -> None:
    assert parse_shares("train=0.8, test = 0.2") == {"train": 0.8, "test": 0.2}
