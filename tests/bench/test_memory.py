"""(c) Memory of each service after 2,000 requests against after 200: good videos, bad ones, and requests that fail."""

from pathlib import Path
from typing import Any

from tests.bench.cascade import bundled_clips, cascade, decision_json, entry
from tests.bench.helper import Helper
from tests.bench.results import Report
from tests.bench.tree import Memory, memory
from tests.media_factory import flat, render, render_audio

FIRST = 200
LAST = 2_000
STEP = 200
CALLERS = 4
MIB = 1024 * 1024


def test_memory(tmp_path: Path, report: Report) -> None:
    with cascade(tmp_path / "data") as running, Helper("tests.bench.load_client") as client:
        seen: dict[str, list[Memory]] = {name: [] for name in running.pids()}
        good = bad = 0
        for start in range(0, LAST, STEP):
            entries, urls = _mixture(tmp_path, running.gateway, start, STEP)
            got = client.ask(count=STEP, callers=CALLERS, entries=entries, urls=urls)
            statuses = {int(status): count for status, count in got["statuses"].items()}
            good += statuses.get(200, 0)
            bad += sum(count for status, count in statuses.items() if 400 <= status < 500)
            assert not any(status >= 500 for status in statuses), statuses
            for name, pid in running.pids().items():
                seen[name].append(memory(pid))
    assert good + bad == LAST
    assert good == LAST * 6 // 10
    report.table(
        f"Memory after {FIRST} and after {LAST} requests, MiB (PSS with all children)",
        ("service", f"after {FIRST}", f"after {LAST}", "growth", "growth %", "MiB/1,000 in last half", "processes"),
        [(name, *_shown(values)) for name, values in seen.items()],
        note=f"{good} decisions, {bad} refusals (no video, cut, no JSON, unknown field), {CALLERS} callers. Every "
        "title is new, so that the cache answers nothing and fills up.",
    )
    figures: dict[str, Any] = {
        name: {
            "requests": list(range(STEP, LAST + 1, STEP)),
            "pss_mib": [value.pss / MIB for value in values],
            "rss_mib": [value.rss / MIB for value in values],
            "growth_mib": (values[-1].pss - values[FIRST // STEP - 1].pss) / MIB,
            "slope_last_half_mib_per_1000": _slope(values),
        }
        for name, values in seen.items()
    }
    report.write("memory", {"n": LAST, "services": figures})


def _mixture(folder: Path, gateway: str, start: int, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Of ten requests six are good; of eight good ones about one shows a violation and goes on to the ranker."""
    clips = bundled_clips()
    harmless = [clip for clip in clips if "other" in clip.name]
    risky = [clip for clip in clips if "violation" in clip.name]
    broken = _broken(folder)
    entries = []
    for number in range(start, start + count):
        place, turn = number % 10, number // 10
        title = decision_json(f"request {number}")
        if place < 5 or (place == 5 and turn % 2):
            entries.append(entry(harmless[number % len(harmless)], title))
        elif place == 5:
            entries.append(entry(risky[turn % len(risky)], title))
        elif place == 6:
            entries.append(entry(broken[turn % len(broken)], title))
        elif place == 7:
            entries.append(entry(harmless[0], "{"))
        elif place == 8:
            entries.append(entry(harmless[0], '{"nothing": 1}'))
        else:
            entries.append(entry(broken[(turn + 1) % len(broken)], title))
    return entries, [f"{gateway}/v1/decisions"] * count


def _broken(folder: Path) -> list[Path]:
    made = [folder / name for name in ("sound.mp4", "cut.mp4", "noise.mp4")]
    if not made[0].is_file():
        render_audio(made[0])
        whole = render(folder / "whole.mp4", lambda _: flat((9, 99, 200))).read_bytes()
        made[1].write_bytes(whole[: len(whole) // 2])
        made[2].write_bytes(bytes(range(256)) * 40)
    return made


def _slope(values: list[Memory]) -> float:
    """Least squares over the second half, MiB for 1,000 requests: what has not settled by then."""
    half = [value.pss / MIB for value in values[len(values) // 2 :]]
    middle, mean = (len(half) - 1) / 2, sum(half) / len(half)
    rise = sum((index - middle) * (value - mean) for index, value in enumerate(half))
    return rise / sum((index - middle) ** 2 for index in range(len(half))) * 1000 / STEP


def _shown(values: list[Memory]) -> list[str]:
    first, last = values[FIRST // STEP - 1].pss / MIB, values[-1].pss / MIB
    shown = [f"{first:.1f}", f"{last:.1f}", f"{last - first:+.1f}", f"{100 * (last / first - 1):+.1f}"]
    return [*shown, f"{_slope(values):+.1f}", str(values[-1].processes)]
