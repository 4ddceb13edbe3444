"""How long `winnow demo` takes the first and the second time; the aim for the second is a minute."""

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.cascade import bundled_clips
from tests.bench.helper import product_environment
from tests.bench.results import Report

AIM_S = 60.0


def test_demo_time(tmp_path: Path, report: Report) -> None:
    first, second = (_demo(tmp_path) for _ in range(2))
    report.table(
        "`winnow demo`, s",
        ("run", "s"),
        [("first, it loads the seeds", f"{first:.1f}"), (f"second, aim {AIM_S:.0f}", f"{second:.1f}")],
    )
    report.write("demo_time", {"n": 1, "first_s": first, "second_s": second, "aim_s": AIM_S})


def _demo(folder: Path) -> float:
    out = folder / "demo.json"
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "winnow", "demo", "--out", out, "--data-dir", folder / "data"],
        check=True,
        capture_output=True,
        env=product_environment(),
        timeout=600,
    )
    seconds = time.perf_counter() - started
    assert len(json.loads(out.read_text(encoding="utf-8"))["decisions"]) == len(bundled_clips())
    return seconds
