"""Where the errors are: by issue, look-alike kind, art style, variant, and with a modality missing. Pure."""

from dataclasses import dataclass

import numpy as np

from offline.evaluation.quality import share
from offline.evaluation.table import Table, any_issue
from offline.statistics import Bools, Estimate, bootstrap


@dataclass(frozen=True)
class Group:
    """Videos that share a label; shares are of their traffic, nan where there are no such videos."""

    violations: int
    clean: int
    passed: Estimate  # violations that the router passes for an issue that they violate
    found: Estimate  # violations flagged for an issue that they violate
    clean_passed: Estimate  # clean videos that the router passes
    false_alarms: Estimate  # clean videos that are flagged


@dataclass(frozen=True)
class Missing:
    """The same videos with everything and with something missing."""

    videos: int
    violations: int
    whole: Group
    without: Group
    found_change: Estimate  # of the share of violations found, paired by video
    false_alarm_change: Estimate


def group(table: Table, rows: Bools, *, rounds: int) -> Group:
    """The errors among some videos, `rows` [n]."""
    part = table.take(np.flatnonzero(rows))
    positive = part.positive
    return Group(
        violations=int(positive.sum()),
        clean=int((~positive).sum()),
        passed=share(part, any_issue(part.escalated & part.truth), positive, rounds=rounds),
        found=share(part, any_issue(part.flagged & part.truth), positive, rounds=rounds),
        clean_passed=share(part, any_issue(part.escalated), ~positive, rounds=rounds),
        false_alarms=share(part, any_issue(part.flagged), ~positive, rounds=rounds),
    )


def by_label(table: Table, name: str, *, rounds: int) -> dict[str, Group]:
    """The errors for each value of a label; empty where no video has one."""
    values = table.labels[name]
    return {str(value): group(table, values == value, rounds=rounds) for value in np.unique(values) if value}


def by_kind(table: Table, *, rounds: int) -> dict[str, Group]:
    """The errors for each stratum of traffic."""
    return {str(kind): group(table, table.kinds == kind, rounds=rounds) for kind in np.unique(table.kinds)}


def by_own_issue(table: Table, *, rounds: int) -> dict[str, Group]:
    """For each issue alone: its violations, and false alarms for it among all videos that do not violate it."""
    found = {}
    everything = np.ones(len(table), dtype=bool)
    for number, issue in enumerate(table.issues):
        one = slice(number, number + 1)
        alone = Table(
            **{
                **vars(table),
                "issues": (issue,),
                **{
                    name: getattr(table, name)[:, one]
                    for name in ("truth", "risk", "threshold", "escalated", "probability", "flagged")
                },
            }
        )
        found[issue] = group(alone, everything, rounds=rounds)
    return found


def missing(whole: Table, without: Table, *, rounds: int) -> Missing:
    """Compare two tables of the same videos in the same order."""
    everything = np.ones(len(whole), dtype=bool)
    positive, weight = whole.positive, whole.weight
    hit = [(t.flagged & t.truth).any(axis=1).astype(float) for t in (whole, without)]
    alarm = [t.flagged.any(axis=1).astype(float) for t in (whole, without)]

    def change(pair: list[np.ndarray], among: Bools) -> Estimate:
        difference = pair[1] - pair[0]

        def measure(k: np.ndarray) -> float:
            w = weight[k] * among[k]
            return float((w * difference[k]).sum() / w.sum()) if w.sum() > 0 else float("nan")

        return bootstrap(measure, whole.strata, rounds=rounds)

    return Missing(
        videos=len(whole),
        violations=int(positive.sum()),
        whole=group(whole, everything, rounds=rounds),
        without=group(without, everything, rounds=rounds),
        found_change=change(hit, positive),
        false_alarm_change=change(alarm, ~positive),
    )
