"""(a) How many videos a second the router gives through HTTP, of those that its decoders and encoder can do bare."""

import statistics
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bench.cascade import bundled_clips, cascade, entry, route_json
from tests.bench.clips import short_video
from tests.bench.helper import Helper
from tests.bench.results import Figure, Report
from tests.bench.tree import cpu_seconds

AIM = 0.90
ROUNDS = 5
ROUND_S = 6.0
WARM_S = 3.0
CALLERS = 8


def test_router(tmp_path: Path, report: Report) -> None:
    sets = {"bundled clips, 160p, 3.4 s": bundled_clips(), "720p, 15 s": [short_video(seed) for seed in range(4)]}
    figures: dict[str, Any] = {"aim": AIM, "callers": CALLERS}
    rows = []
    with (
        cascade(tmp_path, ("router",)) as running,
        Helper("tests.bench.bare_loop") as bare,
        Helper("tests.bench.load_client") as client,
    ):
        router = running.pids()["router"]
        for name, clips in sets.items():
            entries = [entry(clip, route_json(clip)) for clip in clips]
            load = {"entries": entries, "urls": [f"{running.router}/v1/route"] * len(clips), "callers": CALLERS}
            loop = {"paths": [str(clip) for clip in clips], "in_flight": CALLERS}
            client.ask(seconds=WARM_S, **load)
            bare.ask(seconds=WARM_S, **loop)
            rounds = []
            for number in range(ROUNDS):
                if number % 2:
                    served = _served(client, load, router, running.router)
                    looped = _looped(bare, loop)
                else:
                    looped = _looped(bare, loop)
                    served = _served(client, load, router, running.router)
                _same_work(served.pop("answers"), looped.pop("times_s"), clips)
                rounds.append({**served, **looped, "ratio": served["router_rate"] / looped["bare_rate"]})
            each = {key: Figure.of([one[key] for one in rounds]) for key in rounds[0]}
            figures[name] = each
            rows.append(
                (
                    name,
                    each["router_rate"].show(1),
                    each["bare_rate"].show(1),
                    each["ratio"].show(3),
                    *(each[key].show(1) for key in ("router_cpu_ms", "bare_cpu_ms", "client_cpu_ms")),
                    "{:.0f} / {:.0f}".format(each["router_batch_frames"].value, each["bare_batch_frames"].value),
                )
            )
    report.table(
        "Router efficiency: videos/s through HTTP over videos/s of a bare loop",
        (
            "videos",
            "HTTP/s",
            "bare/s",
            f"ratio, aim {AIM}",
            "router CPU ms",
            "bare CPU ms",
            "client CPU ms",
            "frames a batch",
        ),
        rows,
        note=f"Median [least, greatest] of {ROUNDS} interleaved rounds of {ROUND_S:.0f} s, {CALLERS} videos in flight. "
        "CPU is of one video. The bare loop has the router's decoders and encoder and nothing else.",
    )
    report.write("router", figures)


def _served(client: Helper, load: dict[str, Any], router: int, url: str) -> dict[str, Any]:
    frames, batches = _batched(url)
    before = cpu_seconds(router)
    got = client.ask(seconds=ROUND_S, **load)
    used = cpu_seconds(router) - before
    frames_after, batches_after = _batched(url)
    videos = len(got["seconds"])
    assert got["statuses"] == {"200": videos}
    return {
        "router_rate": videos / got["elapsed"],
        "router_cpu_ms": 1000 * used / videos,
        "router_batch_frames": (frames_after - frames) / (batches_after - batches),
        "client_cpu_ms": 1000 * got["client_cpu"] / videos,
        "router_latency_ms": 1000 * statistics.median(got["seconds"]),
        "answers": got["answers"],
    }


def _batched(url: str) -> tuple[float, float]:
    """Frames and passes of the router's encoder so far."""
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    name = "winnow_router_embed_batch_frames_"
    found = dict(line.removeprefix(name).split() for line in text.splitlines() if line.startswith(name))
    return float(found["sum"]), float(found["count"])


def _looped(bare: Helper, loop: dict[str, Any]) -> dict[str, Any]:
    before = cpu_seconds(bare.pid)
    got = bare.ask(seconds=ROUND_S, **loop)
    used = cpu_seconds(bare.pid) - before
    return {
        "bare_rate": got["videos"] / got["elapsed"],
        "bare_cpu_ms": 1000 * used / got["videos"],
        "bare_batch_frames": got["batch"],
        "times_s": got["times_s"],
    }


def _same_work(answers: dict[str, Any], times: dict[str, list[float]], clips: list[Path]) -> None:
    """Both have looked at the same frames of every clip, and the router has found seeds for them."""
    assert len(answers) == len(times) == len(clips)
    for index, answer in answers.items():
        assert answer["frame_times_s"] == pytest.approx(times[index])
        assert any(issue["matches"] for issue in answer["issues"])
