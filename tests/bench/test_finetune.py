"""Fine-tuning on two processes: the same steps as on one. Starting torch three times takes long."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.offline.finetune.toy_sets import write_toy_sets
from tests.integration.ranker.tiny_llava import build_tiny_llava

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["--epochs", "1", "--batch", "4", "--held-out", "0.3", "--precision", "fp32", "--learning-rate", "1e-3",
           "--frames", "2", "--short-side", "32", "--workers", "0", "--cpu"]  # fmt: skip


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    sets, model = write_toy_sets(tmp_path / "sets"), build_tiny_llava(tmp_path / "model")
    # What `accelerate launch` starts for several GPUs; for processors it would want MPI.
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    found = []
    for name, start in (("one", []), ("two", launch)):
        out = tmp_path / name
        command = [sys.executable, *start, "-m", "offline.finetune", str(model), str(sets), "--out", str(out), *OPTIONS]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)
        steps = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        report = json.loads((out / "report.json").read_text())
        found.append((steps, report))
    (one, alone), (two, together) = found
    assert [each["loss"] for each in two] == pytest.approx([each["loss"] for each in one], rel=1e-3)
    assert [each["gradient_norm"] for each in two] == pytest.approx([each["gradient_norm"] for each in one], rel=1e-2)
    assert len(one) == 6
    assert (alone["processes"], together["processes"]) == (1, 2)
    for before, after in zip(alone["results"], together["results"], strict=True):
        assert after["losses"] == pytest.approx(before["losses"], rel=1e-2)
