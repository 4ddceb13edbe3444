"""CPU seconds of each service, read from its metrics between windows of videos, and what a video costs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from scipy.optimize import nnls

from offline.evaluation.asking import Question
from offline.statistics import Estimate
from services.contracts import Decision

METRIC = "winnow_cpu_seconds_total"
SERVICES = ("gateway", "router", "ranker")
SCRAPE_SECONDS = 10.0


class CostError(ValueError):
    """A service does not say what CPU time it used."""


@dataclass(frozen=True)
class Window:
    """Some videos that were asked together with nothing else running.

    Attributes:
        filtered: videos that the ranker did not see.
        routed: videos that it saw.
        cpu: seconds of CPU time that each service used.
    """

    filtered: int
    routed: int
    cpu: Mapping[str, float]


@dataclass(frozen=True)
class Cost:
    """CPU seconds for 1,000 videos of traffic, by service and in all."""

    by_service: dict[str, Estimate]
    total: Estimate


class Meter:
    """Writes the CPU time of every window to a file, so that a second start goes on.

    Args:
        urls: base URL of each service by name; each must be one process that serves this run alone.
        path: JSON lines of windows.
    """

    def __init__(self, urls: Mapping[str, str], path: Path) -> None:
        self._urls = urls
        self._path = path
        self._before: dict[str, float] = {}

    async def start(self) -> None:
        """Take the first reading.

        Raises:
            CostError: a service cannot be read.
        """
        self._before = await read_cpu(self._urls)

    async def __call__(self, asked: Sequence[tuple[Question, Decision]]) -> None:
        """Close a window."""
        now = await read_cpu(self._urls)
        routed = sum(any(i.probability is not None for i in decision.issues) for _, decision in asked)
        cpu = {name: now[name] - self._before[name] for name in now}
        self._before = now
        window = Window(len(asked) - routed, routed, cpu)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(window)) + "\n")


async def read_cpu(urls: Mapping[str, str]) -> dict[str, float]:
    """CPU seconds that each service has used since it started, its child processes included.

    Raises:
        CostError: a service cannot be asked, or does not measure its CPU time (it needs /proc).
    """
    found = {}
    async with httpx.AsyncClient(trust_env=False, timeout=SCRAPE_SECONDS) as client:
        for name, url in urls.items():
            where = f"{url.rstrip('/')}/metrics"
            try:
                text = (await client.get(where)).raise_for_status().text
                samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise CostError(f"the metrics of the {name} cannot be read from {where}: {error}") from error
            values = [sample.value for sample in samples if sample.name == METRIC]
            if not values:
                raise CostError(f"{where} has no {METRIC}: leave the URL away to report no cost")
            found[name] = values[0]
    return found


def read_windows(path: Path) -> list[Window]:
    """The windows of a file; none where there is no file.

    Raises:
        CostError: a line is no window.
    """
    if not path.exists():
        return []
    windows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            cpu = {str(name): float(value) for name, value in row["cpu"].items()}
            windows.append(Window(int(row["filtered"]), int(row["routed"]), cpu))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CostError(f"{path}:{number} is no window of CPU times; remove the file to measure anew") from error
    return windows


def unit_costs(windows: Sequence[Window]) -> dict[str, tuple[float, float]]:
    """CPU seconds of a filtered and of a routed video in each service, by least squares without negative costs."""
    counts = np.array([[w.filtered, w.routed] for w in windows], dtype=np.float64)
    found = {}
    for name in windows[0].cpu:
        seconds = np.array([w.cpu[name] for w in windows])
        filtered, routed = nnls(counts, np.maximum(seconds, 0.0))[0]
        found[name] = (float(filtered), float(routed))
    return found


def cost_of_cascade(windows: Sequence[Window], pass_rate: float, *, rounds: int, seed: int = 0) -> Cost:
    """Of 1,000 videos of traffic of which `pass_rate` is routed; intervals by drawing windows anew."""
    return _cost(windows, pass_rate, rounds, seed)


def cost_of_router(windows: Sequence[Window], *, rounds: int, seed: int = 0) -> Cost:
    """Of 1,000 videos that the ranker never sees, from the windows of the cascade."""
    return _cost(windows, 0.0, rounds, seed)


def cost_of_full(windows: Sequence[Window], *, rounds: int, seed: int = 0) -> Cost:
    """Of 1,000 videos that the ranker always sees, from the windows of mode `full`."""
    return _cost(windows, 1.0, rounds, seed)


def _cost(windows: Sequence[Window], pass_rate: float, rounds: int, seed: int) -> Cost:
    def of(chosen: Sequence[Window]) -> dict[str, float]:
        return {
            name: 1000.0 * ((1 - pass_rate) * filtered + pass_rate * routed)
            for name, (filtered, routed) in unit_costs(chosen).items()
        }

    rng = np.random.default_rng(seed)
    drawn = [of([windows[i] for i in rng.integers(len(windows), size=len(windows))]) for _ in range(rounds)]
    value = of(windows)

    def estimate(figure: float, figures: Sequence[float]) -> Estimate:
        low, high = np.percentile(figures, [2.5, 97.5])
        return Estimate(figure, float(low), float(high))

    return Cost(
        {name: estimate(value[name], [each[name] for each in drawn]) for name in value},
        estimate(sum(value.values()), [sum(each.values()) for each in drawn]),
    )
