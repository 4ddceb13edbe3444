"""An evaluation and an experiment of real services on a real socket, with toy videos."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from offline.cli import app
from offline.evaluation.asking import TooManyMissing
from offline.evaluation.report import as_json
from offline.evaluation.run import Services, Setup, observe, report
from offline.experiment import run as experiments
from offline.experiment.design import Design, parse_rule
from offline.manifest import Labelled, write_manifest
from services.errors import WinnowError
from tests.integration.catalogue.cascade import Cascade, running
from tests.media_factory import BLUE, GREEN, RED, flat, render
from tests.unit.offline.decisions import labelled

MIX = {"violation": 0.1, "other": 0.9}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Labelled]:
    """Two red videos, which the bank knows for arson, and four others; one of each has a title."""
    folder = tmp_path_factory.mktemp("videos")
    made = []
    for number, colour in enumerate((RED, RED, BLUE, GREEN, BLUE, GREEN)):
        file = render(folder / f"{number}.mp4", lambda _, c=colour: flat(c), frames=16 + number)  # type: ignore[misc]
        kind, title = ("violation" if colour == RED else "other"), ("a title" if number in (0, 2) else "")
        made.append(labelled(file, kind, ["arson"] if colour == RED else [], title, style="plain"))
    return made


@pytest.fixture(scope="module")
async def cascade(tmp_path_factory: pytest.TempPathFactory, rows: list[Labelled]) -> AsyncIterator[Cascade]:
    async with running(tmp_path_factory.mktemp("cascade"), rows[0].file.read_bytes()) as started:
        yield started


@pytest.fixture
def setup(rows: list[Labelled], tmp_path: Path) -> Callable[..., Setup]:
    def make(**changes: Any) -> Setup:
        given = {
            "rows": rows, "manifest": "toys.jsonl", "mix": MIX, "folder": tmp_path / "seen", "out": tmp_path / "out",
            "name": "toys", "command": "winnow lab evaluate", "synthetic": True, "full_sample": 4, "rounds": 20,
        }  # fmt: skip
        return Setup(**{**given, **changes})

    return make


def url(cascade: Cascade) -> str:
    return f"http://127.0.0.1:{cascade.port}"


def kept(folder: Path) -> dict[str, bytes]:
    """What was decided and measured so far, by file."""
    return {path.stem: path.read_bytes() for path in folder.glob("*.jsonl")}


async def test_an_evaluation_from_videos_to_report(
    cascade: Cascade, setup: Callable[..., Setup], console: Console, tmp_path: Path
) -> None:
    given = setup()
    services = Services(url(cascade), url(cascade), url(cascade))  # all three run in this process
    await asyncio.to_thread(observe, given, services, console)
    await asyncio.to_thread(observe, given, Services(url(cascade)), console, condition="frames-2")
    seen = kept(given.folder)
    await asyncio.to_thread(observe, given, services, console)
    assert kept(given.folder) == seen, "a second start asks nothing again"
    assert set(seen) == {"cascade", "cascade.cpu", "full", "full.cpu", "no_title", "frames-2"}
    made = report(given, console)
    assert made.videos == {"other": 4, "violation": 2}
    assert made.pass_rate.value == pytest.approx(0.1), "red passes, and stands for a tenth of traffic"
    assert made.router_recall["10.0%"].value == 1.0
    assert made.systems_on == {"other": 2, "violation": 2}
    assert set(made.systems) == {"router alone", "cascade", "full ranker"}
    assert {name: each.videos for name, each in made.missing_modality.items()} == {"frames-2": 4, "no_title": 2}
    assert made.costs["full ranker"].total.value > 0
    assert set(made.models) >= {"policy", "encoder", "bank", "ranker"}
    written = json.loads((tmp_path / "out" / "toys.json").read_text(encoding="utf-8"))
    assert written["pass_rate"]["value"] == made.pass_rate.value
    text = (tmp_path / "out" / "toys.md").read_text(encoding="utf-8")
    assert "| plain | 2 |" in text
    assert all((tmp_path / "out" / name).is_file() for name in ("toys-recall.png", "toys-systems.png"))


async def test_an_experiment_from_traffic_to_table(
    cascade: Cascade, rows: list[Labelled], tmp_path: Path, console: Console
) -> None:
    setup = experiments.Setup(
        rows=rows, manifest="toys.jsonl", mix=MIX, synthetic=True, design=Design(60), control_url=url(cascade),
        treatment_url=url(cascade), control=parse_rule("risk:1"), treatment=parse_rule("risk"),
        folder=tmp_path / "seen", out=tmp_path / "out", name="toys", command="winnow lab experiment",
    )  # fmt: skip
    made = await asyncio.to_thread(experiments.run, setup, console)
    seen = kept(setup.folder)
    again = await asyncio.to_thread(experiments.run, setup, console)
    assert kept(setup.folder) == seen
    assert as_json(again) == as_json(made)
    assert made.trusted
    assert sum(made.ratio.counted) == 60
    assert made.lines["arson"].precision[1].value == 1.0
    assert "| arson |" in (tmp_path / "out" / "toys.md").read_text(encoding="utf-8")


async def test_a_video_that_is_refused_is_listed(
    cascade: Cascade, setup: Callable[..., Setup], rows: list[Labelled], console: Console, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(rows[0].file.read_bytes()[:900])
    given = setup(rows=[*rows, labelled(broken, "other")], full_sample=0)
    await asyncio.to_thread(observe, given, Services(url(cascade)), console)
    made = report(given, console)
    assert made.videos["other"] == 4
    assert [each.split(":")[0] for each in made.missing["cascade"]] == ["broken.mp4"]
    assert "- cascade: broken.mp4: " in (tmp_path / "out" / "toys.md").read_text(encoding="utf-8")


async def test_too_many_refusals_end_it(
    cascade: Cascade, setup: Callable[..., Setup], rows: list[Labelled], console: Console, tmp_path: Path
) -> None:
    broken = []
    for number in range(6):
        path = tmp_path / f"broken-{number}.mp4"
        path.write_bytes(f"no video {number}".encode())
        broken.append(labelled(path, "other"))
    given = setup(rows=[*rows, *broken], full_sample=0)
    with pytest.raises(TooManyMissing, match=r"6 of \d+ videos have no decision .* broken-"):
        await asyncio.to_thread(observe, given, Services(url(cascade)), console)


async def test_labels_that_the_policy_does_not_know_are_told_before_the_work(
    cascade: Cascade, setup: Callable[..., Setup], rows: list[Labelled], console: Console
) -> None:
    given = setup(rows=[rows[0].model_copy(update={"issues": ("arsonn",)}), *rows[1:]])
    with pytest.raises(ValueError, match="labels videos with arsonn, which the gateway's policy does not have"):
        await asyncio.to_thread(observe, given, Services(url(cascade)), console)
    assert kept(given.folder)["cascade"].count(b"\n") == 1


async def test_nobody_at_the_url(setup: Callable[..., Setup], console: Console) -> None:
    with pytest.raises(WinnowError, match="gateway cannot be asked"):
        await asyncio.to_thread(observe, setup(), Services("http://127.0.0.1:9"), console)
    with pytest.raises(ValueError, match="holds no decisions"):
        report(setup(), console)


def test_the_command_tells_what_is_wrong_with_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"path": "a.mp4"}\n', encoding="utf-8")
    for command in (["evaluate", "--url"], ["experiment", "--treatment-url"]):
        arguments = [*command, "http://127.0.0.1:9", "--manifest", str(manifest), "--work", str(tmp_path / "work")]
        found = CliRunner().invoke(app, arguments)
        assert found.exit_code == 1
        assert "no video is labelled with an issue" in found.output.replace("\n", " ")
        wrong = CliRunner().invoke(app, [*arguments, "--mix", "violation"])
        assert wrong.exit_code == 1
        assert "KIND=SHARE" in wrong.output


def test_the_command_tells_what_is_wrong_with_a_url(rows: list[Labelled], tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    write_manifest(rows, manifest)
    for url, said in (
        ("http://[", "error: "),
        ("gateway", "cannot be asked"),
        ("http://127.0.0.1:9", "cannot be asked"),
    ):
        arguments = ["evaluate", "--url", url, "--manifest", str(manifest), "--work", str(tmp_path / "work")]
        found = CliRunner().invoke(app, arguments)
        assert found.exit_code == 1
        assert isinstance(found.exception, SystemExit), "a message and no traceback"
        assert said in found.output
