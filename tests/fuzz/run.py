"""Sends mutants through a whole router and keeps count: answers, deaths, what is left behind. `make fuzz` runs it."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from router_svc.bank import MemoryIndex
from services.contracts import SeedRequest
from services.deadline import Deadline
from services.encoder import HashEncoder
from services.errors import WinnowError
from tests.fuzz.corpus import corpus
from tests.fuzz.mutate import mutant
from tests.integration.router.conftest import (
    Running,
    StandInRanker,
    make_parts,
    make_settings,
    policy,
    request_for,
    running,
)

DOCUMENTED = frozenset(
    {
        "routed",
        "not_a_video",
        "no_video_stream",
        "truncated_video",
        "undecodable_video",
        "video_refused",
    }
)
"""What a file may lead to at the router; see docs/api/errors.md."""
RESULT = Path("build/fuzz.json")
_TIMEOUT_S = 10.0
_WORKERS = 2


@dataclass
class Held:
    """What the service and its decoders hold."""

    descriptors: int
    spool_files: int
    decoders: int
    zombies: int
    rss_mib: float


@dataclass
class Report:
    """Counts of a run, and the mutants whose answer was not one of those that are documented."""

    mutants: int = 0
    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    deaths: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    killers: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    seconds: float = 0.0
    before: Held | None = None
    after: Held | None = None


async def fuzz(count: int, first: int, directory: Path, tick: Callable[[], None] = lambda: None) -> Report:
    """Routes the mutants of the seeds `first` to `first + count - 1` and reports.

    Args:
        count: number of mutants.
        first: seed of the first one.
        directory: for files; a tenth of the mutants is routed before the resources are counted the first time.
        tick: called after each mutant.
    """
    good = await asyncio.to_thread(corpus, directory)
    report, started = Report(), time.monotonic()
    settings = make_settings(
        directory / "data", decode_workers=_WORKERS, decode_timeout_s=_TIMEOUT_S, decode_cpu_s=_TIMEOUT_S - 2
    )
    parts = make_parts(
        StandInRanker(),
        index=lambda encoder: MemoryIndex(encoder.fingerprint, encoder.dim),
        encoder=lambda _: HashEncoder(),
    )
    async with running(settings, parts) as router:
        seed_file = directory / "a.mp4"
        await router.client.add_seed(seed_file, SeedRequest(issue="arson"), Deadline.after(30))
        seeds = iter(range(first, first + count))

        async def take() -> None:
            for seed in seeds:
                await _one(router, seed, good, directory, report)
                tick()
                if report.mutants == max(count // 10, 1):
                    report.before = _held(router)

        await asyncio.gather(*(take() for _ in range(_WORKERS)))
        async with asyncio.timeout(30):
            while router.pipeline.decoders.idle < _WORKERS:
                await asyncio.sleep(0.01)
        report.after = _held(router)
        report.deaths = _deaths((await router.http.get("/metrics")).text)
        await router.client.route(seed_file, request_for(seed_file, policy("arson")), Deadline.after(30))
    report.seconds = time.monotonic() - started
    return report


async def _one(router: Running, seed: int, good: dict[str, bytes], directory: Path, report: Report) -> None:
    kind, done, data = mutant(seed, good)
    path = directory / f"mutant-{seed}"
    path.write_bytes(data)
    name, start = f"seed {seed}, {kind}: {done}", time.monotonic()
    deaths = sum(_deaths_now(router).values())
    try:
        await router.client.route(path, request_for(path, policy("arson")), Deadline.after(60))
        code = "routed"
    except WinnowError as error:
        code = error.code
    except Exception as error:
        code = repr(error)
    path.unlink()
    seconds = time.monotonic() - start
    report.mutants += 1
    codes = report.answers.setdefault(kind, {})
    codes[code] = codes.get(code, 0) + 1
    if code not in DOCUMENTED or seconds > _TIMEOUT_S + 5:
        report.faults.append(f"{name}: {code} after {seconds:.1f} s")
    if sum(_deaths_now(router).values()) > deaths:
        report.killers.append(f"{name}: {code}")
    if seconds > report.slowest_s:
        report.slowest_s, report.slowest = seconds, name


def _deaths_now(router: Running) -> dict[str, float]:
    counter = router.pipeline.metrics._decoder_deaths
    return {
        sample.labels["cause"]: sample.value
        for family in counter.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def _deaths(metrics: str) -> dict[str, float]:
    lines = [line for line in metrics.splitlines() if line.startswith("winnow_router_decoder_deaths_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def _held(router: Running) -> Held:
    server = router.pipeline.decoders._factory._server
    states = _children(server.pid) if server else []
    status = Path("/proc/self/status").read_text()
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return Held(
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
        spool_files=len(list(router.settings.spool_dir.iterdir())),
        decoders=sum(state != "Z" for state in states),
        zombies=sum(state == "Z" for state in states),
        rss_mib=int(rss.split()[1]) / 1024,
    )


def _children(pid: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(fields[0])
    return found


def table(report: Report) -> Table:
    """Answers by container."""
    total = sum((Counter(counts) for counts in report.answers.values()), Counter[str]())
    rows = Table("container", *sorted(total), "all")
    for kind, counts in [*sorted(report.answers.items()), ("all", total)]:
        rows.add_row(kind, *(str(counts.get(code, 0)) for code in sorted(total)), str(sum(counts.values())))
    return rows


def main() -> int:
    """The command line; 1 where a mutant led to anything that is not documented."""
    parser = argparse.ArgumentParser(description="Route damaged videos through a router.")
    parser.add_argument("--mutants", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first mutant")
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as directory, Progress(console=console) as progress:
        task = progress.add_task("mutants", total=arguments.mutants)
        report = asyncio.run(
            fuzz(arguments.mutants, arguments.seed, Path(directory), tick=lambda: progress.advance(task))
        )
    console.print(table(report))
    console.print(f"decoder deaths: {report.deaths or 'none'}; slowest {report.slowest_s:.1f} s ({report.slowest})")
    for fault in report.faults:
        console.print(f"FAULT {fault}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(asdict(report), indent=1) + os.linesep)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
