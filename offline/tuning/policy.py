"""Writes thresholds into the text of a policy: comments, order and layout stay. Pure but for `write_policy`."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from services.policy import Policy, load_policy

Values = Mapping[str, Mapping[str, float]]
"""By issue: `router.threshold`, `actions.review`, `actions.block`, as far as they change."""


@dataclass
class _Edits:
    """Replacements in a text, each between two character positions."""

    made: list[tuple[int, int, str]] = field(default_factory=list)

    def apply(self, text: str) -> str:
        for start, end, new in sorted(self.made, reverse=True):
            text = text[:start] + new + text[end:]
        return text


def with_thresholds(text: str, values: Values) -> str:
    """The text of a policy in which the issues have new thresholds.

    A threshold that an issue states is replaced; one that it took from `defaults` is added to the issue.

    Args:
        text: a policy without errors.
        values: new thresholds, in [0, 1], by issue and key.

    Raises:
        ValueError: the policy lacks an issue, or would have errors (`PolicyError`), e.g. review above block.
    """
    before = load_policy(text)
    unknown = sorted(set(values) - set(before.issue_ids))
    if unknown:
        raise ValueError(f"the policy has no issue {', '.join(unknown)}")
    edits = _Edits()
    newline = "\r\n" if "\r\n" in text else "\n"
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    for issue in _entry(document, "issues").value:
        own = values.get(_entry(issue, "id").value, {})
        sections: dict[str, dict[str, float]] = {}
        for key, value in own.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = value
        for section, named in sections.items():
            _set(edits, issue, section, named, newline)
    after = edits.apply(text)
    found = load_policy(after)
    for issue_id, own in values.items():
        for key, value in own.items():
            if stated(found, issue_id, key) != value:
                raise ValueError(f"{issue_id}: {key} could not be written; state it in the policy once by hand")
    return after


def stated(policy: Policy, issue: str, key: str) -> float:
    """A threshold by its key."""
    own = policy.issue(issue)
    values = {"router.threshold": own.router.threshold, "actions.review": own.actions.review,
              "actions.block": own.actions.block}  # fmt: skip
    return values[key]


def write_policy(path: Path, values: Values) -> None:
    """Change the file as a whole or not at all.

    Raises:
        OSError: it cannot be read or written.
        ValueError: see `with_thresholds`.
    """
    target = path.resolve()
    # Bytes: reading as text would change the ends of lines.
    after = with_thresholds(target.read_bytes().decode(), values)
    fresh = target.with_name(f".{target.name}.new")
    try:
        fresh.write_bytes(after.encode())
        shutil.copymode(target, fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def rounded_up(value: float, steps: int = 10_000) -> float:
    """To a multiple of 1 / steps, at most 1: a lower threshold would pass more than was fitted."""
    return min(1.0, round(math.ceil(round(value * steps, 6)) / steps, 4))


def _set(edits: _Edits, issue: Any, section: str, named: Mapping[str, float], newline: str) -> None:
    """Put values into a section of an issue, and the section into the issue where it has none."""
    present = _entry(issue, section)
    if present is None:
        keys = [key for key, _ in issue.value]
        # Before the router's settings, or else behind the first key, which may stand behind the list's dash.
        at = next((key for key in keys[1:] if key.value == "router"), keys[min(1, len(keys) - 1)]).start_mark
        inner = ", ".join(f"{name}: {_text(value)}" for name, value in named.items())
        if issue.flow_style:
            edits.made.append((at.index, at.index, f"{section}: {{{inner}}}, "))
            return
        pad = newline + " " * at.column
        lines = "".join(f"{pad}  {name}: {_text(value)}" for name, value in named.items())
        edits.made.append((at.index, at.index, f"{section}:{lines}{pad}"))
        return
    for name, value in named.items():
        scalar = _entry(present, name)
        if scalar is not None:
            edits.made.append((scalar.start_mark.index, scalar.end_mark.index, _text(value)))
        elif present.value:
            first = present.value[0][0].start_mark
            between = ", " if present.flow_style else newline + " " * first.column
            edits.made.append((first.index, first.index, f"{name}: {_text(value)}{between}"))
        else:
            inside = present.start_mark.index + 1
            edits.made.append((inside, inside, f"{name}: {_text(value)}, "))


def _entry(mapping: Any, key: str) -> Any:
    """The node of a key, or None."""
    return next((value for name, value in mapping.value if name.value == key), None)


def _text(value: float) -> str:
    short = f"{value:.4f}"
    return short if float(short) == value else repr(value)
