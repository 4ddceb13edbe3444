"""`winnow measure` and `winnow experiment`: what they refuse before anything is started."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from winnow.cli import app


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["measure", "--manifest", "m.jsonl"], "go with --report FOLDER"),
        (["measure", "--frames", "2"], "go with --report FOLDER"),
        (["measure", "--split", "nowhere"], "'nowhere' is none of train"),
        (["measure", "--calibrate", "--report", "out", "--mix", "demo"], "without --calibrate"),
        (["measure", "--report", "out", "--manifest", "none.jsonl"], "none.jsonl: it cannot be read"),
        (["measure", "--report", "out", "--split", "nowhere"], "name a manifest for videos of your own"),
        (["experiment", "--control", "luck"], "'luck' is no rule: verdict, risk, or risk:T"),
        (["experiment", "--split", "nowhere"], "name a manifest for videos of your own"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 1
    assert said in " ".join(found.output.split())
    assert isinstance(found.exception, SystemExit), "a message and no traceback"
    assert not list(tmp_path.rglob("up.lock")), "nothing was started"
