"""`winnow lab finetune` and what it says to wrong input: a message and exit code 1, never a traceback."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offline.commands.finetune import app
from offline.finetune.run import Report
from ranker_svc.settings import bundled_model
from tests.integration.offline.finetune.toy_sets import read_lines, write_lines

SMALL = ["--epochs", "1", "--batch", "4", "--micro-batch", "4", "--held-out", "0.3", "--workers", "0", "--cpu"]
RUNNER = CliRunner()


def test_the_command_trains_and_exports(toy_sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = [bundled_model(), str(toy_sets), "--out", str(out), "--lora", "2", "--frames", "2", *SMALL]
    result = RUNNER.invoke(app, asked)
    assert result.exit_code == 0, result.output
    report = Report.model_validate_json((out / "report.json").read_bytes())
    recipe = report.inputs.recipe
    assert (recipe.lora and recipe.lora.rank, recipe.lora and recipe.lora.alpha, recipe.frames) == (2, 4.0, 2)
    assert (recipe.learning_rate, recipe.precision, recipe.strategy) == (2e-4, "bf16", "multi_task")
    assert json.loads((out / "model" / "config.json").read_text())["model_type"] == "llava"
    assert len(list((out / "frames").iterdir())) == 9
    again = RUNNER.invoke(app, asked)
    assert again.exit_code == 1
    assert "--resume" in again.output
    other = RUNNER.invoke(app, [*asked, "--resume", "--seed", "5"])
    assert other.exit_code == 1
    assert "recipe.seed: 0 before, 5 now" in other.output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ([], "d3.jsonl:3: answer: 'Maybe' is neither Yes nor No"),
        (["--batch", "0"], "--batch"),
        (["--lora", "4", "--lora-modules", " , "], "Lora.modules: "),
        (["--learning-rate", "-1"], "Recipe.learning_rate: "),
    ],
)
def test_wrong_input_is_told(toy_sets: Path, tmp_path: Path, change: list[str], told: str) -> None:
    for part in ("d1", "d2", "d3"):
        lines = [{**line, "video": str(toy_sets / line["video"])} for line in read_lines(toy_sets / f"{part}.jsonl")]
        if part == "d3":
            lines[2]["answer"] = "Maybe"
        write_lines(tmp_path / f"{part}.jsonl", lines)
    result = RUNNER.invoke(app, [bundled_model(), str(tmp_path), "--out", str(tmp_path / "out"), *SMALL, *change])
    assert result.exit_code in (1, 2)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert told in result.output


@pytest.mark.parametrize(("model", "told"), [("nowhere", "neither a directory nor a hub id"), ("", "cannot be loaded")])
def test_a_checkpoint_that_is_none_is_told(toy_sets: Path, tmp_path: Path, model: str, told: str) -> None:
    given = model or str(tmp_path)
    result = RUNNER.invoke(app, [given, str(toy_sets), "--out", str(tmp_path / "out"), *SMALL])
    assert result.exit_code == 1
    assert told in result.output
