"""Everything that is said of a set of runs, as one document. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from offline.evaluation import cost as costs
from offline.evaluation import errors
from offline.evaluation.collect import Observation
from offline.evaluation.quality import CURVE_RATES, Quality, System, by_issue, router_recall, share, systems
from offline.evaluation.store import identity
from offline.evaluation.table import Table, common, table_of
from offline.evaluation.trust import Calibration, calibration
from offline.statistics import Estimate
from services.contracts import Mode

ROUNDS = 500
NO_TITLE = "no_title"
FULL: Mode = "full"
CASCADE: Mode = "cascade"
LABELS = {
    "look_alike": "look-alike kind",
    "look_alike_of": "issue that is resembled",
    "style": "art style",
    "variant": "variant",
}


@dataclass(frozen=True)
class Run:
    """What was observed under one condition.

    Attributes:
        observations: of the videos that were decided.
        missing: why others were not.
        windows: their CPU times, where they were measured.
    """

    observations: Sequence[Observation]
    missing: Sequence[str] = ()
    windows: Sequence[costs.Window] = ()


@dataclass(frozen=True)
class About:
    """Where a report comes from."""

    title: str
    command: str
    manifest: str
    synthetic: bool
    traffic: str  # how the videos were weighed


@dataclass(frozen=True)
class Report:
    """All figures of an evaluation; shares are of traffic, intervals 95 % by bootstrap."""

    about: About
    rounds: int
    models: dict[str, str]
    videos: dict[str, int]
    positives: dict[str, int]
    missing: dict[str, list[str]]
    cached: int
    pass_rate: Estimate
    router_recall: dict[str, Estimate]
    recall_curve: dict[str, Estimate]
    quality: dict[str, dict[str, Quality]]
    systems: dict[str, System]
    systems_on: dict[str, int]
    costs: dict[str, costs.Cost]
    cost_windows: dict[str, int]
    groups: dict[str, dict[str, errors.Group]]
    missing_modality: dict[str, errors.Missing]
    calibration: Calibration | None
    calibrators: list[str] = field(default_factory=list)


def build(about: About, runs: Mapping[str, Run], *, rounds: int = ROUNDS) -> Report:
    """The report of what was observed.

    Args:
        about: where it comes from.
        runs: by condition; CASCADE has to be there, FULL, NO_TITLE and any other are optional.
        rounds: of every bootstrap.

    Raises:
        ValueError: the runs do not fit together.
    """
    table = table_of(runs[CASCADE].observations)
    _require_labels(table)
    full = table_of(runs[FULL].observations) if FULL in runs else None
    shared = common(table, full) if full is not None else (table, None)
    pass_rate = share(table, table.routed, np.ones(len(table), dtype=bool), rounds=rounds)
    decisions = [o.decision for run in runs.values() for o in run.observations]
    return Report(
        about=about,
        rounds=rounds,
        models=_models(runs),
        videos={str(kind): int((table.kinds == kind).sum()) for kind in np.unique(table.kinds)},
        positives={issue: int(table.truth[:, i].sum()) for i, issue in enumerate(table.issues)},
        missing={name: list(run.missing) for name, run in runs.items() if run.missing},
        cached=sum(decision.route == "cached" for decision in decisions),
        pass_rate=pass_rate,
        router_recall=router_recall(table, rounds=rounds),
        recall_curve=router_recall(table, CURVE_RATES, rounds=rounds),
        quality=_quality(table, full, rounds),
        systems=dict(systems(shared[0], shared[1], rounds=rounds)),
        systems_on={str(kind): int((shared[0].kinds == kind).sum()) for kind in np.unique(shared[0].kinds)},
        costs=_costs(runs, pass_rate.value, rounds),
        cost_windows={name: len(run.windows) for name, run in runs.items() if run.windows},
        groups=_groups(table, rounds),
        missing_modality={
            name: errors.missing(*common(table, table_of(run.observations)), rounds=rounds)
            for name, run in runs.items()
            if name not in (CASCADE, FULL)
        },
        calibration=calibration(table, rounds=min(rounds, 200)),
        calibrators=sorted({each for decision in decisions for each in decision.models.calibrators}),
    )


def as_json(report: object) -> str:
    """A report as JSON; a figure that is not defined is null."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return json.dumps(plain(asdict(report)), indent=2, allow_nan=False) + "\n"  # type: ignore[call-overload]


def _quality(table: Table, full: Table | None, rounds: int) -> dict[str, dict[str, Quality]]:
    found = {
        "router's risk, all traffic": by_issue(table, table.margin, rounds=rounds),
        "ranker's probability, routed traffic": by_issue(table, table.probability, table.asked, rounds=rounds),
        "cascade, all traffic": by_issue(table, table.probability, rounds=rounds),
    }
    if full is not None:
        found["ranker on everything (mode full), all traffic"] = by_issue(full, full.probability, rounds=rounds)
    return found


def _groups(table: Table, rounds: int) -> dict[str, dict[str, errors.Group]]:
    found = {"kind": errors.by_kind(table, rounds=rounds), "issue": errors.by_own_issue(table, rounds=rounds)}
    found |= {text: errors.by_label(table, name, rounds=rounds) for name, text in LABELS.items()}
    return {name: groups for name, groups in found.items() if groups}


def _costs(runs: Mapping[str, Run], pass_rate: float, rounds: int) -> dict[str, costs.Cost]:
    found = {}
    cascade = runs[CASCADE].windows
    if cascade:
        found["router alone"] = costs.cost_of_router(cascade, rounds=rounds)
        found["cascade"] = costs.cost_of_cascade(cascade, pass_rate, rounds=rounds)
    if FULL in runs and runs[FULL].windows:
        found["full ranker"] = costs.cost_of_full(runs[FULL].windows, rounds=rounds)
    return found


def _models(runs: Mapping[str, Run]) -> dict[str, str]:
    """Fingerprints, one each; ValueError where runs were of different models."""
    found: dict[str, str] = {}
    for name, run in runs.items():
        for observation in run.observations:
            for part, value in identity(observation.decision).items():
                before = found.setdefault(part, value)
                if before != value and part != "bank":
                    raise ValueError(
                        f"{name} was observed with the {part} {value}, and {CASCADE} with {before}; "
                        "observe all of them with the same models, in another folder if need be"
                    )
    return found


def _require_labels(table: Table) -> None:
    if not table.positive.any():
        raise ValueError(
            "no video of the manifest violates any issue of the policy: there is nothing to evaluate. "
            "Label them in the column `issues`."
        )
    if table.positive.all():
        raise ValueError("all videos of the manifest are violations: false alarms cannot be seen; add clean ones")
