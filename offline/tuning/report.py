"""Tells what tuning found: tables for people, a document for machines, and the values that a policy takes over."""

import math
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from offline.tuning.judged import Thresholds
from offline.tuning.outcome import Promise, Tuned
from offline.tuning.pass_rate import PassRate
from offline.tuning.policy import stated
from services.policy import Policy

Values = dict[str, dict[str, float]]


def values_of(issues: tuple[str, ...], thresholds: Thresholds, policy: Policy) -> Values:
    """Thresholds by issue and key, as a policy takes them. Block is raised to review where it would be below it."""
    values: Values = {}
    for number, issue in enumerate(issues):
        review = float(thresholds.review[number])
        given = stated(policy, issue, "actions.block") if thresholds.block is None else float(thresholds.block[number])
        values[issue] = {"router.threshold": float(thresholds.router[number]), "actions.review": review}
        block = max(review, given)
        if block != stated(policy, issue, "actions.block"):
            values[issue]["actions.block"] = block
    return values


def print_promise(found: Tuned, promise: Promise, console: Console) -> None:
    """What was promised, what was measured, and how sure it is."""
    table = Table(
        title="Kept" if found.thresholds is not None else "Not kept; the nearest thresholds",
        caption=f"Learn-then-Test, {promise.confidence:.0%} confidence for all lines together; a limit is of its line "
        "alone.",
    )
    for column in ("what", "promised", "measured", "limit", "of"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for each in found.promised:
        sign = ">=" if each.at_least else "<="
        value = "none" if math.isnan(each.value) else f"{each.value:.3f}"
        style = "red" if found.thresholds is None and each.missing > 0 else None
        table.add_row(
            each.name, f"{sign} {each.level:g}", value, f"{sign} {each.limit:.3f}", str(each.count), style=style
        )
    console.print(table)


def print_pass_rate(found: PassRate, wanted: float, console: Console) -> None:
    """What the router passes and finds."""
    table = Table(
        title=f"Router thresholds for a pass rate of {wanted:g}",
        caption="On the sample that they were fitted on; 95 % bootstrap intervals.",
    )
    for column in ("issue", "threshold", "share of traffic", "router recall"):
        table.add_column(column, justify="left" if column == "issue" else "right")
    for issue, threshold in found.thresholds.items():
        recall = found.recall_of.get(issue)
        told = "no violations" if recall is None else str(recall)
        table.add_row(issue, f"{threshold:.4f}", f"{found.passed_for[issue]:.4f}", told)
    table.add_row("all", "", str(found.passed), str(found.recall))
    console.print(table)


def print_values(values: Values, policy: Policy, console: Console) -> None:
    """Old and new thresholds."""
    keys = ("router.threshold", "actions.review", "actions.block")
    table = Table(title="Thresholds, old > new")
    table.add_column("issue")
    for key in keys:
        table.add_column(key, justify="right")
    for issue, own in values.items():
        cells = []
        for key in keys:
            old = stated(policy, issue, key)
            new = own.get(key, old)
            cells.append(f"{old:.4f}" if new == old else f"{old:.4f} > {new:.4f}")
        table.add_row(issue, *cells)
    console.print(table)


def document(
    *, header: dict[str, Any], kinds: dict[str, int], asked: dict[str, Any], found: Tuned | PassRate, values: Values
) -> dict[str, Any]:
    """The report as plain data; what is not defined is null.

    Args:
        header: what judged the sample.
        kinds: videos of each kind.
        asked: what was wanted.
        found: the outcome.
        values: thresholds by issue and key; empty where there are none.
    """
    outcome: dict[str, Any] = (
        {"kept": found.thresholds is not None, "reason": found.reason,
         "promised": [{**asdict(each), "missing": each.missing} for each in found.promised]}
        if isinstance(found, Tuned)
        else {"passed": asdict(found.passed), "recall": asdict(found.recall),
              "recall_of": {issue: asdict(each) for issue, each in found.recall_of.items()},
              "passed_for": found.passed_for}
    )  # fmt: skip
    plain: dict[str, Any] = _plain(
        {"asked": asked, "sample": kinds, "judged_by": header, **outcome, "thresholds": values}
    )
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
