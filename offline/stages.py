"""The stages that make the bundled models, and where each reads and writes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from offline.bundle import SEEDS_PER_ISSUE
from offline.calibration import fit_calibrator
from offline.calibration_report import write_report
from offline.demo_world.art import WORLD_STYLES
from offline.demo_world.generate import generate
from offline.demo_world.splits import Counts
from offline.demo_world.taxonomy import ISSUES
from offline.evaluation.collect import collect
from offline.evaluation.sample import demo_mix
from offline.fit import (
    Similarities,
    Vectors,
    embed_seeds,
    fit_background,
    look_alike_seeds,
    read_seeds,
    risks,
    samples_of,
    similarities_by_kind,
)
from offline.manifest import Labelled, read_manifest, traffic_weights
from offline.selection.sentences import SENTENCES
from offline.tuning.pass_rate import fit_thresholds
from offline.tuning.policy import write_policy
from services.calibration import FittedFor
from services.contracts import SeedKind
from services.encoder import Encoder
from services.policy import default_policy_path, load_policy
from services.scoring import Background

ROOT = Path(__file__).resolve().parent.parent
ROUTER_MODEL = ROOT / "router_svc" / "models" / "demo"
RANKER_MODEL = ROOT / "ranker_svc" / "models" / "demo"
SEED_MANIFEST = ROOT / "winnow" / "bundled" / "seeds" / "manifest.jsonl"
CALIBRATOR = "demo-p2"
FITTED_KINDS: tuple[SeedKind, ...] = ("golden", "text", "negative")
"""Kinds of seed that the bundled background has a scale of its own for; centroid and feedback borrow golden's."""
FIT_COUNTS = Counts(violation=160, look_alike=190, other=800)  # clean videos in the proportions of traffic
SEED_FRAMES, RANK_FRAMES, SHORT_SIDE, JPEG_QUALITY = 4, 4, 336, 90  # the router's defaults


def train_router(work: Path, minutes: float, console: Console) -> None:
    """Dense pre-training and the head; writes the router's model directory.

    A small tower learns the world's own art first, in a quarter of the time; a deeper one goes on from it with all
    artists and disguises, from which it would hardly learn anything at first.
    """
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from offline.training.dense import DenseRecipe, train_dense
    from offline.training.head import HeadRecipe, export_router, train_head

    plain = DenseRecipe(minutes=minutes / 4, layers=4, styles=WORLD_STYLES, plain=1.0)
    first = train_dense(work / "art", work / "router" / "first", plain, console)
    rest = DenseRecipe(minutes=minutes * 3 / 4, start=first)
    dense = train_dense(work / "art", work / "router", rest, console)
    head = train_head(work / "art", dense, work / "features", HeadRecipe(), console)
    export_router(dense, head, work / "router" / "clip_tokenizer", ROUTER_MODEL)
    console.print(f"wrote {ROUTER_MODEL}")


def train_text(work: Path, console: Console) -> None:
    """The text head for the encoder in the router's model directory; writes it beside the head, which stays."""
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from offline.training.text_head import TextHeadRecipe, train_text_head

    train_text_head(work / "art", ROUTER_MODEL, TextHeadRecipe(), console).save(ROUTER_MODEL)
    console.print(f"wrote the text head in {ROUTER_MODEL}")


def train_ranker(work: Path, minutes: float, console: Console) -> None:
    """The ranker on the trained tower; writes the ranker's model directory."""
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from offline.training.ranker import export_ranker
    from offline.training.ranker import train_ranker as train
    from offline.training.ranker_recipe import RankerRecipe

    policy = load_policy(default_policy_path())
    # A policy may choose any template; the bundled one has P2.
    recipe = RankerRecipe(minutes=minutes, templates=("P2", "P2", "P1", "P3", "P4"))
    checkpoint = train(
        work / "art", work / "router" / "dense.pt", work / "ranker", policy, recipe, console,
        features=work / "features", router=ROUTER_MODEL,
    )  # fmt: skip
    export_ranker(checkpoint, work / "ranker" / "tokenizer", RANKER_MODEL)
    console.print(f"wrote {RANKER_MODEL}")


def fit_router(work: Path, pass_rate: float, console: Console) -> None:
    """Background and thresholds on the calibration split; writes background.json and the bundled policy."""
    from services.encoder.open_clip import load_encoder

    encoder = load_encoder(str(ROUTER_MODEL))
    videos, similarities = _background_traffic(work, encoder, FITTED_KINDS, console)
    background = fit_background(similarities, videos, encoder.fingerprint)
    background.save(ROUTER_MODEL / "background.json")
    issues = [issue.id for issue in ISSUES]
    risk = risks(similarities["golden"], background, issues)
    weight = np.array(traffic_weights(videos, demo_mix()))
    thresholds, passed = fit_thresholds(risk, weight, issues, pass_rate=pass_rate)
    cuts = np.array([thresholds[i] for i in issues])
    right = [bool(v.truth & {i for i, r, c in zip(issues, row, cuts, strict=True) if r >= c})
             for v, row in zip(videos, risk, strict=True) if v.issues]  # fmt: skip
    console.print(f"thresholds pass {passed:.2%} of calibration traffic; recall there {np.mean(right):.3f}")
    path = default_policy_path()
    write_policy(path, {issue: {"router.threshold": value} for issue, value in thresholds.items()})


def fit_kinds(work: Path, kinds: Sequence[SeedKind], console: Console) -> None:
    """Background of these kinds of seed alone; what background.json has of others, and all thresholds, stay.

    Raises:
        ValueError: background.json was fitted for another encoder.
    """
    from services.encoder.open_clip import load_encoder

    path = ROUTER_MODEL / "background.json"
    encoder, old = load_encoder(str(ROUTER_MODEL)), Background.load(path)
    if old.encoder != encoder.fingerprint:
        raise ValueError(f"{path} is of encoder {old.encoder}, not {encoder.fingerprint}; run `winnow lab fit-router`")
    videos, similarities = _background_traffic(work, encoder, kinds, console)
    new = fit_background(similarities, videos, encoder.fingerprint)
    replace(old, knots={**old.knots, **new.knots}).save(path)
    console.print(f"wrote {path}: {', '.join(kinds)}")


def _background_traffic(
    work: Path, encoder: Encoder, kinds: Sequence[SeedKind], console: Console
) -> tuple[list[Labelled], dict[SeedKind, Similarities]]:
    """Videos of the calibration split and their similarities with seeds of each kind."""
    banks = {kind: _bank(work, encoder, kind, console) for kind in kinds if kind != "text" or encoder.supports_text}
    manifest = generate(work / "art", work / "videos" / "calibration", "calibration", FIT_COUNTS, console)
    videos = read_manifest(manifest)
    return videos, similarities_by_kind(encoder, banks, videos, console, short_side=SHORT_SIDE)


def _bank(work: Path, encoder: Encoder, kind: SeedKind, console: Console) -> dict[str, Vectors]:
    """Seed vectors of every issue: the bundled seeds, sentences, or as many look-alikes as there are bundled seeds."""
    if kind == "text":
        return {issue: encoder.embed_texts(sentences) for issue, sentences in SENTENCES.items()}
    if kind == "negative":
        counts = Counts(look_alike=SEEDS_PER_ISSUE * len(ISSUES))
        manifest = generate(work / "art", work / "videos" / "look_alikes", "bank", counts, console)
        seeds = look_alike_seeds(read_manifest(manifest))
    else:
        seeds = read_seeds(SEED_MANIFEST)
        if len(seeds) != SEEDS_PER_ISSUE * len(ISSUES):
            raise RuntimeError("run `winnow lab bundle` first")
    return embed_seeds(encoder, seeds, frames=SEED_FRAMES, short_side=SHORT_SIDE)


def calibrate(
    work: Path, url: str, counts: Counts, console: Console, *, report: Path | None = None, command: str = ""
) -> None:
    """Fit the calibrator on routed calibration traffic of a running gateway; writes it beside the ranker's model, and a
    report that names the command into the folder `report`."""
    manifest = generate(work / "art", work / "videos" / "calibration", "calibration", counts, console)
    observations = asyncio.run(collect(url, read_manifest(manifest), console, mix=demo_mix()))
    used = next((o.decision for o in observations if o.decision.models.ranker), None)
    if used is None:
        raise RuntimeError("the ranker was asked about none of the videos; lower the router thresholds")
    fitted_for = FittedFor(
        model=used.models.ranker, prompt="P2", assembly="weighted_sum", policy_hash=used.policy_hash,
        bank_revision=used.models.bank_revision, encoder=used.models.encoder, fine_weight=0.5, frames=RANK_FRAMES,
        frame_short_side=SHORT_SIDE, jpeg_quality=JPEG_QUALITY,
    )  # fmt: skip
    samples = samples_of(observations)
    calibrator, compared = fit_calibrator(samples, CALIBRATOR, fitted_for)
    target = RANKER_MODEL / "calibrators" / f"{CALIBRATOR}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(calibrator.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for each in compared:
        console.print(f"{each.method}: cross-validated Brier score {each.brier:.4f} (standard error {each.error:.4f})")
    console.print(f"{calibrator.pooled.method}; wrote {target}")
    if report is not None:
        console.print(f"wrote {write_report(calibrator, compared, samples, report, command)}")
