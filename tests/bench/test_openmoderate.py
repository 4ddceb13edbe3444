"""(f) The same videos, as many frames, the same open_clip model with the same weights: openmoderate, and our router."""

from pathlib import Path
from typing import Any

import pytest

from tests.bench.cascade import bundled_clips, cascade, entry, route_json
from tests.bench.clips import Recipe, make
from tests.bench.helper import Helper
from tests.bench.results import Figure, Report
from tests.bench.tree import cpu_seconds
from winnow.seeds import BUNDLED, read_manifest

MODEL = "ViT-B-32"
FRAMES = 8
ROUNDS = 5
SEEDS = 12


def test_openmoderate(tmp_path: Path, report: Report) -> None:
    pytest.importorskip("openmoderate", reason="pip install -e '.[bench]'")
    weights = _random_weights(tmp_path / "weights.pt")
    sets = {
        "bundled clips, 160p, 3.4 s": bundled_clips()[:4],
        "720p, 15 s": [make(Recipe(seconds=15.0, gop=60, seed=seed)) for seed in range(2)],
        "720p, 30 s, key frame every 8.3 s": [make(Recipe(seconds=30.0, gop=250))],
    }
    environment = {"WINNOW_ROUTER_ENCODER_MODEL": MODEL, "WINNOW_ROUTER_ENCODER_PRETRAINED": str(weights)}
    figures: dict[str, Any] = {"model": MODEL, "weights": "random", "frames": FRAMES}
    rows = []
    with (
        cascade(tmp_path / "data", ("router",), seeds=_some_seeds(tmp_path / "seeds"), **environment) as running,
        Helper("tests.bench.openmoderate_side") as theirs,
        Helper("tests.bench.load_client") as client,
    ):
        theirs.ask(model=MODEL, weights=str(weights))
        router = running.pids()["router"]
        for name, clips in sets.items():
            runs: dict[str, list[float]] = {key: [] for key in ("ours_s", "theirs_s", "ours_cpu_s", "theirs_cpu_s")}
            for number in range(ROUNDS + 1):
                for clip in clips:
                    ours, answer = _ours(client, running.router, router, clip)
                    got = theirs.ask(path=str(clip), frames=FRAMES, duration_s=answer["media"]["duration_s"])
                    assert len(answer["frame_times_s"]) == got["frames"] == FRAMES
                    if number:  # the first round warms both
                        for key, value in (*ours.items(), ("theirs_s", got["seconds"]), ("theirs_cpu_s", got["cpu"])):
                            runs[key].append(value)
            each = {key: Figure.of(values) for key, values in runs.items()}
            each["ratio"] = Figure.of([a / b for a, b in zip(runs["theirs_s"], runs["ours_s"], strict=True)])
            figures[name] = each
            columns = ("theirs_s", "ours_s", "ratio", "theirs_cpu_s", "ours_cpu_s")
            rows.append((name, *(each[key].show(3 if key != "ratio" else 2) for key in columns)))
        figures["score_difference"] = _score_difference(theirs, weights)
    report.table(
        f"openmoderate's analyze_video and our router, {MODEL}, {FRAMES} frames a video",
        ("videos", "openmoderate s/video", "router s/video", "times as fast", "openmoderate CPU s", "router CPU s"),
        rows,
        note=f"Median [least, greatest] of {ROUNDS} interleaved rounds, one video at a time. openmoderate: a call in "
        "its own process, every frame decoded with OpenCV. Router: over HTTP, with upload, hash, decoder process, "
        "search and answer. Both have the same random weights; speed does not depend on them. On the same frames our "
        f"vectors give openmoderate's scores within {figures['score_difference']:.1g}.",
    )
    report.write("openmoderate", figures)


def _ours(client: Helper, url: str, router: int, clip: Path) -> tuple[dict[str, float], dict[str, Any]]:
    before = cpu_seconds(router)
    got = client.ask(count=1, callers=1, entries=[entry(clip, route_json(clip))], urls=[f"{url}/v1/route"])
    used = cpu_seconds(router) - before
    assert got["statuses"] == {"200": 1}
    return {"ours_s": got["seconds"][0], "ours_cpu_s": used}, got["answers"]["0"]


def _score_difference(theirs: Helper, weights: Path) -> float:
    """Largest difference of openmoderate's scores from those that it gives our vectors of our frames at the same times.

    None, where both look at the same pictures with the same model.
    """
    from openmoderate import ModerationConfig, Moderator

    from services.encoder.open_clip import load_encoder
    from services.media.decode import decode_frames

    clip = bundled_clips()[0]
    length = decode_frames(clip).facts.duration_s
    got = theirs.ask(path=str(clip), frames=FRAMES, duration_s=length)
    ours = decode_frames(clip, times=got["times_s"])
    assert ours.times_s == pytest.approx(got["times_s"], abs=1e-3)
    encoder = load_encoder(MODEL, str(weights))
    moderator = Moderator(config=ModerationConfig(model_name=MODEL, pretrained=str(weights)), device="cpu")
    scores = moderator.score_all(encoder.embed_images(ours.frames))
    worst = max(
        abs(a - b)
        for row, other in zip(scores.tolist(), got["scores"], strict=True)
        for a, b in zip(row, other, strict=True)
    )
    assert worst < 1e-3
    return float(worst)


def _random_weights(path: Path) -> Path:
    """A checkpoint that both sides load as a file: no hub is asked."""
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch

    torch.manual_seed(0)
    torch.save(open_clip.create_model(MODEL, pretrained=None).state_dict(), path)
    return path


def _some_seeds(folder: Path) -> Path:
    """The first bundled seeds; with the bundled ones all, loading would take longer than measuring."""
    folder.mkdir()
    rows = read_manifest(BUNDLED / "seeds")[:SEEDS]
    for row in rows:
        (folder / row.path).symlink_to(BUNDLED / "seeds" / row.path)
    lines = "".join(row.model_dump_json() + "\n" for row in rows)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    return folder
