"""The comparison of router recipes on the demo world: what each finds at a pass rate, on both test splits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from offline.demo_world.generate import generate
from offline.demo_world.splits import KINDS, MIX, Counts, Split
from offline.demo_world.taxonomy import ISSUES, violated
from offline.manifest import Labelled, read_manifest, traffic_weights
from offline.router.recipes import Floats, Roles, detector, own_score, pooled, product, search
from offline.router.views import Clip, Viewer, Views
from offline.statistics import Estimate, bootstrap, pr_auc, recall_at_pass_rate, roc_auc

PASS_RATES = (0.025, 0.05, 0.1)
CURVE = tuple(float(rate) for rate in np.geomspace(0.005, 0.3, 40))
SPLITS: tuple[Split, ...] = ("test", "test_openmoji")
_ROLES = tuple(Roles(issue.a, issue.b) for issue in ISSUES)
_IDS = tuple(issue.id for issue in ISSUES)


@dataclass(frozen=True)
class Bank:
    """Seeds of every issue, in the order of ISSUES, as frames of the violating segments and of the whole videos."""

    segments: Views
    whole: Views
    issue: np.ndarray


@dataclass(frozen=True)
class Measured:
    """One recipe on one split: recall at each of PASS_RATES, the two areas, and the curve of recall over CURVE."""

    recipe: str
    recall: tuple[Estimate, ...]
    roc_auc: Estimate
    pr_auc: Estimate
    curve: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """All recipes on all splits.

    Attributes:
        fingerprint: of the encoder.
        seeds: numbers of seeds an issue that were tried.
        counts: videos of each kind in each split.
        measured: recipes of each split.
    """

    fingerprint: str
    seeds: tuple[int, ...]
    counts: Mapping[str, Mapping[str, int]]
    measured: Mapping[str, tuple[Measured, ...]]


def compare(
    work: Path, model: Path, console: Console, *, seeds: Sequence[int], counts: Counts, seed_frames: int,
    short_side: int, rounds: int = 1000,
) -> Comparison:  # fmt: skip
    """Measure every recipe that the model has the parts for.

    Args:
        work: with `art` and `videos`; splits that are there are used as they are, others are written.
        model: a model directory.
        console: for progress.
        seeds: numbers of seeds an issue; the first one for every recipe, all for the one that is served.
        counts: of a test split that is not there.
        seed_frames: frames of a seed.
        short_side: of decoded frames, pixels.
        rounds: of the bootstrap.
    """
    viewer = Viewer(str(model), short_side=short_side, cache=work / "views")
    bank_rows = _split(work, "bank", Counts(violation=max(seeds) * len(ISSUES)), console)
    bank = _bank(viewer, bank_rows, max(seeds), seed_frames, console)
    measured: dict[str, tuple[Measured, ...]] = {}
    sizes: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        rows = _split(work, split, counts, console)
        views = viewer.look([Clip(row.file) for row in rows], f"embedding {split}", console)
        scores = recipe_scores(views, bank, seeds, viewer.tags)
        measured[split] = tuple(
            measure(name, own, rows, rounds=rounds)
            for name, own in track(scores.items(), description=f"measuring {split}", console=console)
        )
        sizes[split] = {kind: sum(row.kind == kind for row in rows) for kind in KINDS}
    return Comparison(viewer.fingerprint, tuple(seeds), sizes, measured)


def recipe_scores(views: Views, bank: Bank, seeds: Sequence[int], tags: Sequence[str]) -> dict[str, Floats]:
    """Scores [videos, issues] of each recipe. The first one is what is served."""
    first = seeds[0]

    def by_frame(look: Callable[[Views], np.ndarray], count: int, *, whole: bool = False) -> Floats:
        seen = bank.whole if whole else bank.segments
        return search(look(views), views.owner, [look(seen)[keep] for keep in _frames_of(seen, bank.issue, count)])

    def by_video(look: Callable[[Views], np.ndarray], *, whole: bool) -> Floats:
        seen = bank.whole if whole else bank.segments
        centres = pooled(look(seen), seen.owner)
        videos = pooled(look(views), views.owner)
        return search(videos, np.arange(len(videos)), [centres[keep] for keep in _clips_of(bank.issue, first)])

    def captions(seen: Views) -> np.ndarray:
        return seen.pooled

    def head(seen: Views) -> np.ndarray:
        return seen.head

    best = head if views.head.size else captions
    scores: dict[str, Floats] = {}
    if views.head.size:
        scores["Supervised contrast, by frame, segment seeds"] = by_frame(head, first)
    scores["Captions only, by frame, segment seeds"] = by_frame(captions, first)
    kind = "Supervised contrast" if views.head.size else "Captions only"
    scores[f"{kind}, pooled video, segment seeds"] = by_video(best, whole=False)
    scores[f"{kind}, by frame, whole-video seeds"] = by_frame(best, first, whole=True)
    scores[f"{kind}, pooled video, whole-video seeds"] = by_video(best, whole=True)
    scores.update({f"{kind}, by frame, {n} segment seeds": by_frame(best, n) for n in seeds[1:]})
    if {role for issue in _ROLES for role in issue.a + issue.b} <= set(tags):
        scores["Detector of A alone"] = detector(views.tags, views.owner, tags, _ROLES)
        scores["Product of the tag scores of A and B, no seeds"] = product(views.tags, views.owner, tags, _ROLES)
    return scores


def measure(recipe: str, scores: Floats, rows: Sequence[Labelled], *, rounds: int) -> Measured:
    """Measures of a recipe, weighed to the mix of traffic, resampled within the kinds of videos."""
    shares: dict[str, float] = {str(kind): share for kind, share in MIX.items()}
    weight = np.array(traffic_weights(rows, shares))
    positive = np.array([bool(row.truth) for row in rows])
    kinds: list[str] = [*KINDS]
    strata = np.array([kinds.index(row.kind) for row in rows])
    score, own = scores.max(axis=1), own_score(scores, [row.truth for row in rows], _IDS)

    def recall(rate: float) -> Callable[[np.ndarray], float]:
        return lambda i: recall_at_pass_rate(score[i], own[i], positive[i], weight[i], rate)

    return Measured(
        recipe,
        tuple(bootstrap(recall(rate), strata, rounds=rounds) for rate in PASS_RATES),
        bootstrap(lambda i: roc_auc(score[i], positive[i], weight[i]), strata, rounds=rounds),
        bootstrap(lambda i: pr_auc(score[i], positive[i], weight[i]), strata, rounds=rounds),
        tuple(recall(rate)(np.arange(len(rows))) for rate in CURVE),
    )


def _bank(viewer: Viewer, rows: Sequence[Labelled], count: int, frames: int, console: Console) -> Bank:
    segments, whole, issues = [], [], []
    for number, issue in enumerate(_IDS):
        for row in [row for row in rows if issue in row.truth][:count]:
            shot = next((s for s in row.shots if issue in violated((frozenset(s.objects),))), None)
            if shot is None:
                raise ValueError(f"no shot of {row.id} violates {issue}; write the split again with `winnow lab world`")
            segments.append(Clip(row.file, shot.start_s, shot.end_s, frames))
            whole.append(Clip(row.file, frames=frames))
            issues.append(number)
    return Bank(
        viewer.look(segments, "embedding seeds", console),
        viewer.look(whole, "embedding whole seeds", console),
        np.array(issues),
    )


def _clips_of(issue: np.ndarray, count: int) -> list[np.ndarray]:
    """Places of the first `count` clips of every issue."""
    return [np.flatnonzero(issue == number)[:count] for number in range(len(_IDS))]


def _frames_of(seen: Views, issue: np.ndarray, count: int) -> list[np.ndarray]:
    """Places of all frames of the first `count` clips of every issue."""
    return [np.flatnonzero(np.isin(seen.owner, clips)) for clips in _clips_of(issue, count)]


def _split(work: Path, split: Split, counts: Counts, console: Console) -> list[Labelled]:
    """Rows of a split. Written where it is not there, or where it has too few violations for a bank."""
    manifest = work / "videos" / split / "manifest.jsonl"
    rows = read_manifest(manifest, issues=_IDS) if manifest.exists() else []
    found = Counts(**{kind: sum(row.kind == kind for row in rows) for kind in KINDS})
    if rows and (split != "bank" or found.violation >= counts.violation):
        return rows
    wanted = Counts(*(max(found.of(kind), counts.of(kind)) for kind in KINDS))
    return read_manifest(generate(work / "art", manifest.parent, split, wanted, console), issues=_IDS)
