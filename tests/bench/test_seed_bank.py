"""The seed bank's embedded index at 1,000 to 100,000 vectors, beside what it could be; a million is extrapolated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.helper import Helper
from tests.bench.results import Report, percentile
from tests.bench.seed_bank_process import DIM, FRAMES, ISSUES, PER_SEED

COUNTS = (1_000, 10_000, 100_000)
FURTHER = 1_000_000
# Local mode is left out where filling it takes longer.
LIMIT_S = 180.0
MIB, MS = 1024 * 1024, 1_000.0
NAMES = {"shipped": "Edge + arrays", "edge": "Edge", "arrays": "arrays", "local": "local mode"}


@dataclass(frozen=True)
class Measured:
    """One index at one size: milliseconds, vectors a second, seconds, MiB."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    stop_ms: float
    put_ms: float
    put_stop_ms: float
    insert_rate: float
    open_s: float
    memory_mib: float

    def shown(self) -> list[str]:
        return [
            f"{self.p50_ms:.1f}",
            f"{self.p95_ms:.1f}",
            f"{self.cpu_ms:.1f}",
            f"{self.stop_ms:.1f}",
            f"{self.put_ms:.1f}",
            f"{self.put_stop_ms:.1f}",
            f"{self.insert_rate:,.0f}",
            f"{self.open_s:.2f}",
            f"{self.memory_mib:.0f}",
        ]


def test_seed_bank(tmp_path: Path, report: Report) -> None:
    figures: dict[str, dict[int, Measured]] = {kind: {} for kind in NAMES}
    for count in COUNTS:
        for kind, measured in figures.items():
            if kind == "local" and count > 10_000:
                continue
            if (found := _measure(kind, count, tmp_path / f"{kind}-{count}")) is not None:
                measured[count] = found
    assert all(len(figures[kind]) == len(COUNTS) for kind in ("shipped", "edge", "arrays"))
    rows: list[list[str]] = []
    for count in COUNTS:
        rows += [[f"{count:,}", NAMES[kind], *each[count].shown()] for kind, each in figures.items() if count in each]
    # With so many vectors the default is Edge by itself.
    further = {kind: _further(each) for kind, each in figures.items() if len(each) > 1 and kind != "shipped"}
    rows += [[f"{FURTHER:,} *", NAMES[kind], *each.shown()] for kind, each in further.items()]
    report.table(
        "Seed bank: a search of one video, single puts, filling, opening",
        (
            "vectors",
            "index",
            "p50 ms",
            "p95 ms",
            "CPU ms",
            "stop ms",
            "put ms",
            "stop ms",
            "filled/s",
            "open s",
            "MiB",
        ),
        rows,
        note=f"A search is {FRAMES} frames with {ISSUES} groups, 8 hits each, {DIM} numbers a vector, {PER_SEED} "
        "vectors a seed; a put is one seed. Stop: median over the runs of the longest time in which the event loop did "
        "not run. MiB: growth of the process by opening and searching. Edge + arrays is the default up to 200,000 "
        "vectors, Edge beyond. Arrays have nothing on disk and open by being filled. Local mode (of qdrant-client) is "
        "filled by upserts alone; with what a put also does it takes many times as long.\n"
        "* extrapolated along the line through the two largest sizes measured; filled/s is that of the largest.",
    )
    report.write(
        "seed_bank",
        {
            kind: {
                **{str(count): vars(measured) for count, measured in each.items()},
                **({f"{FURTHER} extrapolated": vars(further[kind])} if kind in further else {}),
            }
            for kind, each in figures.items()
        },
    )


def _measure(kind: str, count: int, path: Path) -> Measured | None:
    """Filled by one process and used by another, which knows nothing of the first one's memory."""
    with Helper("tests.bench.seed_bank_process") as helper:
        limit_s = LIMIT_S if kind == "local" else 3_600.0
        seconds = helper.ask(do="fill", kind=kind, path=str(path), count=count, limit_s=limit_s)
    if seconds is None:
        return None
    with Helper("tests.bench.seed_bank_process") as helper:
        used: dict[str, Any] = helper.ask(do="use", kind=kind, path=str(path), count=count)
    search, put = used["search"], used["put"]
    return Measured(
        p50_ms=percentile(search["seconds"], 0.5) * MS,
        p95_ms=percentile(search["seconds"], 0.95) * MS,
        cpu_ms=search["cpu"] * MS,
        stop_ms=percentile(search["stops"], 0.5) * MS,
        put_ms=percentile(put["seconds"], 0.5) * MS,
        put_stop_ms=percentile(put["stops"], 0.5) * MS,
        insert_rate=count / seconds,
        open_s=used["open"],
        memory_mib=used["memory"] / MIB,
    )


def _further(measured: dict[int, Measured]) -> Measured:
    (fewer, below), (more, at) = sorted(measured.items())[-2:]
    steps = (FURTHER - more) / (more - fewer)
    values = {name: value + max(0.0, value - vars(below)[name]) * steps for name, value in vars(at).items()}
    return Measured(**{**values, "insert_rate": at.insert_rate})
