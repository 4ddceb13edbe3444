"""How good rankings and verdicts are: PR-AUC, ROC-AUC, Max-F1, recall against cost. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.evaluation.table import NOT_ASKED, Table, any_issue
from offline.statistics import (
    Bools,
    Estimate,
    Floats,
    bootstrap,
    max_f1,
    pr_auc,
    recall_at_pass_rate,
    roc_auc,
)

OVERALL = "overall"
PASS_RATES = (0.025, 0.05, 0.10)
CURVE_RATES = (0.005, 0.01, 0.015, 0.02, 0.025, 0.035, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
FALSE_ALARM_RATES = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05)
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Quality:
    """A score as a classifier of videos. `videos` and `positives` are counts, not weighted."""

    videos: int
    positives: int
    pr_auc: Estimate
    roc_auc: Estimate
    max_f1: Estimate


@dataclass(frozen=True)
class Operating:
    """What a system does with traffic at the policy's thresholds; all are shares of traffic."""

    found: Estimate  # of violations, flagged for an issue that they violate
    false_alarms: Estimate  # of clean traffic, flagged for anything
    flagged: Estimate  # of all traffic


@dataclass(frozen=True)
class System:
    """The router alone, the cascade, or the ranker on everything."""

    at_policy: Operating
    found_at: dict[str, Estimate]  # violations found, by the share of clean traffic that is flagged with them


def quality(score: Floats, positive: Bools, weight: Floats, strata: npt.NDArray[np.int_], *, rounds: int) -> Quality:
    """Of a score, all [n]."""

    def of(measure: Callable[[Floats, Bools, Floats], float]) -> Estimate:
        return bootstrap(lambda k: measure(score[k], positive[k], weight[k]), strata, rounds=rounds)

    return Quality(len(score), int(positive.sum()), of(pr_auc), of(roc_auc), of(max_f1))


def by_issue(table: Table, score: Floats, among: Bools | None = None, *, rounds: int) -> dict[str, Quality]:
    """Overall (the highest score of a video against any violation) and for each issue.

    Args:
        table: the videos.
        score: [n, k].
        among: pairs that count, [n, k]; all if None. A video counts overall where any pair of it does.
        rounds: of the bootstrap.
    """
    kept = np.ones_like(table.truth) if among is None else among
    any_kept = any_issue(kept)
    best = np.where(kept, score, -np.inf).max(axis=1)
    found = {}
    for name, rows, values, positive in [
        (OVERALL, any_kept, best, table.positive),
        *((issue, kept[:, i], score[:, i], table.truth[:, i]) for i, issue in enumerate(table.issues)),
    ]:
        if rows.any():
            found[name] = quality(values[rows], positive[rows], table.weight[rows], table.strata[rows], rounds=rounds)
    return found


def router_recall(table: Table, rates: tuple[float, ...] = PASS_RATES, *, rounds: int) -> dict[str, Estimate]:
    """Violations that pass for an issue that they violate, by pass rate; the margins to the policy's thresholds rank
    the videos, so that all thresholds move together."""
    best, own, positive, weight = table.best(table.margin), table.own(table.margin), table.positive, table.weight
    return {
        f"{rate:.1%}": bootstrap(
            lambda k, rate=rate: recall_at_pass_rate(best[k], own[k], positive[k], weight[k], rate),  # type: ignore[misc]
            table.strata,
            rounds=rounds,
        )
        for rate in rates
    }


def found_at_false_alarms(best: Floats, own: Floats, positive: Bools, weight: Floats, rate: float) -> float:
    """Share of the violations that a threshold finds which flags at most `rate` of clean traffic; nan without
    violations. What is NOT_ASKED is never flagged."""
    if not positive.any() or positive.all():
        return float("nan")
    order = np.argsort(-best[~positive], kind="stable")
    clean, shares = best[~positive][order], np.cumsum(weight[~positive][order]) / weight[~positive].sum()
    too_many = np.flatnonzero(shares > rate + 1e-12)
    # Just above the first clean video that must not be flagged, and so above those that tie with it.
    floor = max(clean[too_many[0]], NOT_ASKED) if too_many.size else NOT_ASKED
    return float(weight[positive & (own > floor)].sum() / weight[positive].sum())


def share(table: Table, what: Bools, among: Bools, *, rounds: int) -> Estimate:
    """Share of the weight of `among` that `what` has; nan where there is none."""
    weight = table.weight

    def measure(k: Index) -> float:
        whole = weight[k][among[k]].sum()
        return float(weight[k][what[k] & among[k]].sum() / whole) if whole > 0 else float("nan")

    return bootstrap(measure, table.strata, rounds=rounds)


def operating(table: Table, flagged: Bools, *, rounds: int) -> Operating:
    """What flags, [n, k], do with traffic."""
    hit, any_flag, positive = any_issue(flagged & table.truth), any_issue(flagged), table.positive
    return Operating(
        share(table, hit, positive, rounds=rounds),
        share(table, any_flag, ~positive, rounds=rounds),
        share(table, any_flag, np.ones_like(positive), rounds=rounds),
    )


def system(table: Table, score: Floats, flagged: Bools, *, rounds: int) -> System:
    """A system that ranks pairs by `score` and, at the policy's thresholds, flags `flagged`, both [n, k]."""
    best, own, positive, weight = table.best(score), table.own(score), table.positive, table.weight
    found_at = {
        f"{rate:.2%}": bootstrap(
            lambda k, rate=rate: found_at_false_alarms(best[k], own[k], positive[k], weight[k], rate),  # type: ignore[misc]
            table.strata,
            rounds=rounds,
        )
        for rate in FALSE_ALARM_RATES
    }
    return System(operating(table, flagged, rounds=rounds), found_at)


def systems(cascade: Table, full: Table | None, *, rounds: int) -> Mapping[str, System]:
    """The router alone, the cascade and, where there is one, the full ranker, on the same videos.

    Args:
        cascade: in mode `cascade`.
        full: the same videos in the same order in mode `full`.
        rounds: of the bootstrap.
    """
    found = {
        "router alone": system(cascade, cascade.margin + 1.0, cascade.escalated, rounds=rounds),
        "cascade": system(cascade, cascade.probability, cascade.flagged, rounds=rounds),
    }
    if full is not None:
        found["full ranker"] = system(full, full.probability, full.flagged, rounds=rounds)
    return found
