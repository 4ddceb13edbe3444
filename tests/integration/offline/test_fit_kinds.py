"""`winnow lab fit-background`: the scale of one kind of seed anew, on a copy of the bundled encoder and toy art."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offline import stages
from offline.cli import app
from offline.demo_world.splits import Counts
from services.scoring import Background


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, art_folder: Path) -> Path:
    """A working directory with toy art, where the stage writes into a copy of the model and takes few videos."""
    monkeypatch.setattr(stages, "ROUTER_MODEL", shutil.copytree(stages.ROUTER_MODEL, tmp_path / "model"))
    monkeypatch.setattr(stages, "FIT_COUNTS", Counts(look_alike=5, other=21))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "art").symlink_to(art_folder)
    return tmp_path / "work"


def background() -> Background:
    return Background.load(stages.ROUTER_MODEL / "background.json")


def test_one_kind_is_fitted_and_the_others_stay(work: Path) -> None:
    before = background()
    result = CliRunner().invoke(app, ["fit-background", "--kind", "text", "--work", str(work)])
    assert result.exit_code == 0, result.output
    after = background()
    assert set(after.knots) == set(before.knots) == {"golden", "text", "negative"}
    assert after.knots["text"] != before.knots["text"]
    assert list(after.knots["text"]) == sorted(after.knots["text"])
    assert after.knots["golden"] == before.knots["golden"]
    assert after.knots["negative"] == before.knots["negative"]
    assert after.encoder == before.encoder


def test_an_unknown_kind_is_refused_before_any_work(work: Path) -> None:
    result = CliRunner().invoke(app, ["fit-background", "--kind", "text", "--kind", "feedback", "--work", str(work)])
    assert result.exit_code == 2
    assert "feedback: none of golden, text, negative" in " ".join(result.output.split())
    assert list(work.iterdir()) == [work / "art"]


def test_the_background_of_another_encoder_is_not_added_to(work: Path) -> None:
    path = stages.ROUTER_MODEL / "background.json"
    path.write_text(path.read_text().replace(background().encoder, "0123456789abcdef"))
    result = CliRunner().invoke(app, ["fit-background", "--kind", "text", "--work", str(work)])
    assert isinstance(result.exception, ValueError)
    assert "run `winnow lab fit-router`" in str(result.exception)
