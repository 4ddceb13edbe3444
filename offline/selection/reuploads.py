"""A look-alike that comes back: do negatives made of what the router sent on by mistake stop its re-uploads?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from offline.demo_world.art import Art
from offline.demo_world.encode import encode
from offline.demo_world.scene import Pools
from offline.demo_world.splits import scene_at
from offline.demo_world.variants import VARIANTS
from offline.manifest import Labelled
from offline.router.views import Clip
from offline.selection.banks import IDS, Floats, Floats32, Traffic, fit, risks, vectors_of
from offline.selection.negatives import MARGINS, WEIGHTS, Kinds, Rule, pass_rate_at_recall, threshold_at_recall
from offline.selection.world import Calibration, World
from offline.statistics import Estimate, bootstrap
from services.media import sample_times

RECALL = 0.95
FORMS = ("small", "letterbox", "vp9", "compressed")
"""Variants of the demo world in which a video comes back."""


@dataclass(frozen=True)
class Stopped:
    """What a rule does to re-uploads at RECALL on the split `test`.

    Attributes:
        rule: the rule; None without negatives.
        reuploads: share of them that passes.
        pass_rate: share of the traffic of `test`, in which no re-upload is, that passes.
    """

    rule: Rule | None
    reuploads: Estimate
    pass_rate: Estimate


@dataclass(frozen=True)
class Reuploads:
    """The part of the report on look-alikes that come back.

    Attributes:
        candidates: look-alikes that the router saw.
        marked: of those, how many it sent on: each becomes a negative.
        videos: re-uploads, len(FORMS) of each.
        rows: one for each rule.
    """

    candidates: int
    marked: int
    videos: int
    rows: tuple[Stopped, ...]


def reuploads(
    world: World, known: Calibration, traffic: Traffic, golden: Mapping[str, Floats32], *, rounds: int
) -> Reuploads:
    """Measure on re-uploads of look-alikes of the calibration split and on `traffic`.

    Args:
        world: the splits.
        known: the calibration split.
        traffic: the split `test`.
        golden: seed vectors of every issue.
        rounds: of the bootstrap.

    Raises:
        ValueError: the router sent none of the look-alikes on.
    """
    encoder = world.viewer.fingerprint
    plain: Kinds = {"golden": golden}
    background = fit(plain, known.clean, encoder)
    risk = risks(plain, known.tuning, background)
    threshold = threshold_at_recall(known.tuning.own(risk), known.tuning.positive, known.tuning.weight, RECALL)
    seen = world.traffic(known.look_alikes, "embedding look-alikes")
    passing = risks(plain, seen, background)
    marked = np.flatnonzero(passing.max(axis=1) >= threshold).tolist()
    if not len(marked):
        raise ValueError("the router sends none of the look-alikes on: there is nothing to mark")
    issues = [IDS[number] for number in passing[marked].argmax(axis=1)]
    clips = [evidence(seen, place, golden[issue], world) for place, issue in zip(marked, issues, strict=True)]
    views = world.look(clips, "embedding negatives")
    vectors = vectors_of(views)
    own = {issue: np.flatnonzero([each == issue for each in issues]) for issue in dict.fromkeys(issues)}
    bank = {issue: vectors[np.isin(views.owner, places)] for issue, places in own.items()}
    again = world.look([Clip(path) for path in forms_of([seen.rows[p] for p in marked], world)], "embedding re-uploads")
    back = Traffic([seen.rows[place] for place in marked for _ in FORMS], vectors_of(again), again.owner)
    rows = []
    for rule in [None, *(Rule("marked", weight, margin) for weight in WEIGHTS for margin in MARGINS)]:
        kinds: Kinds = plain if rule is None else {"golden": golden, "negative": bank}
        fitted, weight, margin = fit(kinds, known.clean, encoder), *((rule.weight, rule.margin) if rule else (0.0, 1.0))
        found = [risks(kinds, videos, fitted, weight=weight, margin=margin) for videos in (traffic, back)]
        rows.append(Stopped(rule, *_measured(traffic, found[0], found[1], rounds)))
    return Reuploads(len(seen.rows), len(marked), len(back.rows), tuple(rows))


def evidence(traffic: Traffic, place: int, seeds: Floats32, world: World) -> Clip:
    """The shot of a video that holds the frame nearest to an issue's seeds: what an operator is shown and marks."""
    row = traffic.rows[place]
    frames = np.zeros((0, 0)) if row.duration_s is None else traffic.frames[traffic.owner == place]
    if not len(frames) or row.duration_s is None:
        return Clip(row.file, frames=world.seed_frames)
    best = int((frames @ seeds.T).max(axis=1).argmax())
    time = sample_times(row.duration_s)[best]
    shot = next((shot for shot in row.shots if shot.start_s <= time < shot.end_s), None)
    return Clip(row.file, shot.start_s if shot else 0.0, shot.end_s if shot else None, world.seed_frames)


def forms_of(rows: Sequence[Labelled], world: World) -> list[Path]:
    """Files of the videos in every one of FORMS, a video's together; written where they are not there."""
    art = Art(world.work / "art")
    folder = world.work / "videos" / "reuploads"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for row in rows:
        number = int(row.id.rsplit("-", 1)[1])
        scene = scene_at(world.seed, "calibration", "look_alike", number, Pools(art.neutral, art.others))
        for name in FORMS:
            path = folder / f"{row.id}.{name}{VARIANTS[name].suffix}"
            if not path.exists():
                encode(scene, art, path, VARIANTS[name])
            files.append(path)
    return files


def _measured(traffic: Traffic, risk: Floats, back: Floats, rounds: int) -> tuple[Estimate, Estimate]:
    """Share of re-uploads that passes at RECALL, and pass rate; a video is resampled with all of its forms."""
    score, own, positive, weight = risk.max(axis=1), traffic.own(risk), traffic.positive, traffic.weight
    again, count = back.max(axis=1).reshape(-1, len(FORMS)), len(traffic.rows)

    def stopped(i: npt.NDArray[np.intp]) -> float:
        test, videos = i[i < count], i[i >= count] - count
        threshold = threshold_at_recall(own[test], positive[test], weight[test], RECALL)
        return float((again[videos] >= threshold).mean())

    def rate(i: npt.NDArray[np.intp]) -> float:
        return pass_rate_at_recall(score[i], own[i], positive[i], weight[i], RECALL)

    strata = np.concatenate([traffic.strata, np.full(len(again), traffic.strata.max() + 1)])
    return bootstrap(stopped, strata, rounds=rounds), bootstrap(rate, traffic.strata, rounds=rounds)
