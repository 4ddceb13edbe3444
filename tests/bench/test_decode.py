"""(e) What the decode strategies gain over decoding everything, and how near the frames are to the wanted times."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
from av.codec.codec import UnknownCodecError

from services.media.decode import decode_frames
from services.media.sampling import SamplingPlan, sample_times
from tests.bench.clips import Recipe, make
from tests.bench.results import Figure, Report

ROUNDS = 3
SHORT_SIDE = 336
WHOLE = 1 << 62  # every video counts as small enough to be decoded whole
CODECS = ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "mpeg4", "mjpeg")
RECIPES = [
    *(Recipe("libx264", seconds, gop) for seconds in (5.0, 30.0, 120.0) for gop in (30, 250, 0)),
    *(Recipe(codec, 30.0, gop) for codec in CODECS[1:-1] for gop in (30, 250, 0)),
    Recipe("libvpx-vp9", 5.0, 30),
    Recipe("mjpeg", 30.0, 30),
]
COLUMNS = ("codec", "s", "key every", "strategy", "all ms", "chosen ms", "gain", "CPU gain", "frames")
ACCURACY = ("off mean s", "max s", "max bins")


def test_decode(report: Report) -> None:
    figures, rows = {}, []
    for recipe in RECIPES:
        if not _can_encode(recipe.codec):
            report.line(f"{recipe.codec}: PyAV has no such encoder here; left out")
            continue
        measured = _measured(make(recipe))
        figures[recipe.path.name] = measured
        every = "each" if recipe.codec == "mjpeg" else str(recipe.gop) if recipe.gop else "one"
        rows.append(
            (
                recipe.codec.removeprefix("lib"),
                f"{recipe.seconds:g}",
                every,
                measured["strategy"],
                f"{1000 * measured['all_s'].value:.0f}",
                f"{1000 * measured['chosen_s'].value:.0f}",
                f"{measured['gain'].value:.1f}",
                f"{measured['cpu_gain'].value:.1f}",
                f"{measured['frames']}/{measured['wanted']}",
                f"{measured['off_mean_s']:.2f}",
                f"{measured['off_max_s']:.2f}",
                f"{measured['off_max_bins']:.2f}",
            )
        )
    report.table(
        "Decoding chosen frames against decoding everything, 720p, 30 frames/s",
        (*COLUMNS, *ACCURACY),
        rows,
        note=f"Median of {ROUNDS} interleaved rounds. Off: distance of a frame's time from the wanted one, also in "
        "bins (the distance of two wanted times). Decoding everything gives the frame nearest to each wanted time.",
    )
    long = [each["gain"].value for each in figures.values() if each["strategy"] != "whole"]
    report.line(
        f"Where the decoder jumps, it is {min(long):.1f} to {max(long):.1f} times as fast as decoding everything; the "
        f"worst frame is {max(each['off_max_s'] for each in figures.values()):.2f} s from its wanted time."
    )
    report.write("decode", figures)


def _measured(path: Path) -> dict[str, Any]:
    plan = SamplingPlan()
    whole = replace(plan, whole_pixels=WHOLE)
    times: dict[str, list[float]] = {"all": [], "chosen": [], "all_cpu": [], "chosen_cpu": []}
    for _ in range(ROUNDS):
        for name, each in (("all", whole), ("chosen", plan)):
            started, cpu = time.perf_counter(), time.process_time()
            video = decode_frames(path, plan=each, short_side=SHORT_SIDE)
            times[name].append(time.perf_counter() - started)
            times[f"{name}_cpu"].append(time.process_time() - cpu)
            if name == "all":
                everything = video
    assert everything.strategy == "whole"
    wanted = sample_times(video.facts.duration_s, plan=plan)
    # One key frame may be the nearest of two wanted times, so that fewer frames come back; none may come from nowhere.
    assert len(everything.frames) == len(wanted)
    assert len(wanted) / 2 <= len(video.frames) <= len(wanted)
    off = [min(abs(found - target) for found in video.times_s) for target in wanted]
    bins = wanted[1] - wanted[0]
    return {
        "strategy": video.strategy,
        "all_s": Figure.of(times["all"]),
        "chosen_s": Figure.of(times["chosen"]),
        "gain": Figure.of([a / b for a, b in zip(times["all"], times["chosen"], strict=True)]),
        "cpu_gain": Figure.of([a / b for a, b in zip(times["all_cpu"], times["chosen_cpu"], strict=True)]),
        "frames": len(video.frames),
        "wanted": len(wanted),
        "off_mean_s": sum(off) / len(off),
        "off_max_s": max(off),
        "off_max_bins": max(off) / bins,
        "whole_off_max_s": max(min(abs(found - target) for found in everything.times_s) for target in wanted),
    }


def _can_encode(codec: str) -> bool:
    try:
        av.codec.Codec(codec, "w")
    except UnknownCodecError:
        return False
    return True
