"""schemathesis finds no request that a service answers otherwise than its OpenAPI document says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.openapi.conftest import Served

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
"""Made up for each operation in each mode, beside the deterministic ones; `make contract` asks for more."""


@pytest.mark.parametrize("service", ["gateway", "router", "ranker"])
def test_schemathesis_runs_clean(served: Served, service: str) -> None:
    options = f"--checks all --phases examples,coverage,fuzzing --max-examples {EXAMPLES} --seed 1 --no-color"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
    command += [f"{getattr(served, service)}/openapi.json", "--generation-deterministic", "--continue-on-failure"]
    command += options.split()
    environment = {**os.environ, "WINNOW_TEST_VIDEO": str(served.video)}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=HERE.parents[2], timeout=1_800
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
