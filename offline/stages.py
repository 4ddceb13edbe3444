"""The stages that make the bundled models, and where each reads and writes."""

import asyncio
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console

from offline.bundle import SEEDS_PER_ISSUE
from offline.collect import collect, read_manifest
from offline.demo_world.generate import generate
from offline.demo_world.splits import MIX, Counts
from offline.demo_world.taxonomy import ISSUES
from offline.fit import (
    embed_seeds,
    fit_background,
    fit_calibrator,
    fit_thresholds,
    frame_similarities,
    read_seeds,
    risks,
)
from services.calibration import FittedFor
from services.policy import default_policy_path, load_policy

ROOT = Path(__file__).resolve().parent.parent
ROUTER_MODEL = ROOT / "router_svc" / "models" / "demo"
RANKER_MODEL = ROOT / "ranker_svc" / "models" / "demo"
SEED_MANIFEST = ROOT / "winnow" / "bundled" / "seeds" / "manifest.jsonl"
CALIBRATOR = "demo-p2-temperature"
FIT_COUNTS = Counts(violation=160, look_alike=190, other=800)  # clean videos in the proportions of traffic
SEED_FRAMES, RANK_FRAMES, SHORT_SIDE, JPEG_QUALITY = 4, 4, 336, 90  # the router's defaults


def train_router(work: Path, minutes: float, console: Console) -> None:
    """Dense pre-training and the head; writes the router's model directory."""
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from offline.training.dense import DenseRecipe, train_dense
    from offline.training.head import HeadRecipe, export_router, train_head

    dense = train_dense(work / "art", work / "router", DenseRecipe(minutes=minutes), console)
    head = train_head(work / "art", dense, work / "features", HeadRecipe(), console)
    export_router(dense, head, work / "router" / "clip_tokenizer", ROUTER_MODEL)
    console.print(f"wrote {ROUTER_MODEL}")


def train_ranker(work: Path, minutes: float, console: Console) -> None:
    """The ranker on the trained tower; writes the ranker's model directory."""
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from offline.training.ranker import RankerRecipe, export_ranker
    from offline.training.ranker import train_ranker as train

    policy = load_policy(default_policy_path())
    recipe = RankerRecipe(minutes=minutes)
    checkpoint = train(
        work / "art", work / "router" / "dense.pt", work / "ranker", policy, recipe, console, features=work / "features"
    )
    export_ranker(checkpoint, work / "ranker" / "tokenizer", RANKER_MODEL)
    console.print(f"wrote {RANKER_MODEL}")


def fit_router(work: Path, pass_rate: float, console: Console) -> None:
    """Background and thresholds on the calibration split; writes background.json and the bundled policy."""
    from services.encoder.open_clip import load_encoder

    manifest = generate(work / "art", work / "videos" / "calibration", "calibration", FIT_COUNTS, console)
    videos = read_manifest(manifest)
    encoder = load_encoder(str(ROUTER_MODEL))
    seeds = read_seeds(SEED_MANIFEST)
    if len(seeds) != SEEDS_PER_ISSUE * len(ISSUES):
        raise RuntimeError("run `winnow lab bundle` first")
    bank = embed_seeds(encoder, seeds, frames=SEED_FRAMES, short_side=SHORT_SIDE)
    similarities = frame_similarities(encoder, bank, videos, console, short_side=SHORT_SIDE)
    background = fit_background(similarities, videos, encoder.fingerprint)
    background.save(ROUTER_MODEL / "background.json")
    issues = [issue.id for issue in ISSUES]
    risk = risks(similarities, background, issues)
    weight = np.array([MIX[v.kind] / FIT_COUNTS.of(v.kind) for v in videos])
    thresholds, passed = fit_thresholds(risk, weight, issues, pass_rate=pass_rate)
    cuts = np.array([thresholds[i] for i in issues])
    right = [bool(v.issues & {i for i, r, c in zip(issues, row, cuts, strict=True) if r >= c})
             for v, row in zip(videos, risk, strict=True) if v.issues]  # fmt: skip
    console.print(f"thresholds pass {passed:.2%} of calibration traffic; recall there {np.mean(right):.3f}")
    path = default_policy_path()
    path.write_text(with_thresholds(path.read_text(encoding="utf-8"), thresholds), encoding="utf-8")
    load_policy(path)


def with_thresholds(policy: str, thresholds: Mapping[str, float]) -> str:
    """The text of a policy with new router thresholds, comments kept. Every issue must state a threshold.

    Raises:
        ValueError: an issue has none.
    """
    for issue, value in thresholds.items():
        pattern = rf"(- id: {issue}\n(?:(?!  - id:).*\n)*?\s+threshold: )[0-9.]+"
        rounded = math.ceil(round(value * 1e4, 6)) / 1e4  # up: a lower threshold would pass more than was fitted
        policy, changed = re.subn(pattern, rf"\g<1>{rounded:.4f}", policy)
        if changed != 1:
            raise ValueError(f"the policy states no router threshold for {issue}")
    return policy


def calibrate(work: Path, url: str, counts: Counts, console: Console) -> None:
    """Fit the calibrator on routed calibration traffic of a running gateway; writes it beside the ranker's model."""
    manifest = generate(work / "art", work / "videos" / "calibration", "calibration", counts, console)
    observations = asyncio.run(collect(url, read_manifest(manifest), console))
    used = next((o.decision for o in observations if o.decision.models.ranker), None)
    if used is None:
        raise RuntimeError("the ranker was asked about none of the videos; lower the router thresholds")
    fitted_for = FittedFor(
        model=used.models.ranker, prompt="P2", assembly="weighted_sum", policy_hash=used.policy_hash,
        bank_revision=used.models.bank_revision, encoder=used.models.encoder, fine_weight=0.5, frames=RANK_FRAMES,
        frame_short_side=SHORT_SIDE, jpeg_quality=JPEG_QUALITY,
    )  # fmt: skip
    calibrator = fit_calibrator(observations, CALIBRATOR, fitted_for)
    target = RANKER_MODEL / "calibrators" / f"{CALIBRATOR}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(calibrator.model_dump_json(indent=2) + "\n", encoding="utf-8")
    console.print(f"temperature {calibrator.temperature:.3f}; wrote {target}")
