"""Rules of a policy that no single field can check: unique ids, known siblings, ordered action thresholds."""

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypeIs

Path = tuple[str | int, ...]
"""Keys and indices from the root of the document."""


def format_path(path: Path) -> str:
    """A path as people write it, e.g. `issues[1].actions.block`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "policy"


def consistency_problems(policy: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Path and description of everything that contradicts itself in a policy given as plain data.

    Parts whose type is wrong are skipped: the model reports them. So all errors of a file can be told at once.
    """
    issues = policy.get("issues")
    if not isinstance(issues, Sequence) or isinstance(issues, str):
        return []
    indexed = [(index, issue) for index, issue in enumerate(issues) if isinstance(issue, Mapping)]
    known = {issue["id"] for _, issue in indexed if isinstance(issue.get("id"), str)}
    seen: set[str] = set()
    problems: list[tuple[Path, str]] = []
    for index, issue in indexed:
        issue_id = issue.get("id")
        if isinstance(issue_id, str):
            if issue_id in seen:
                problems.append((("issues", index, "id"), f"`{issue_id}` is used by an earlier issue"))
            seen.add(issue_id)
        problems += [(("issues", index, *path), detail) for path, detail in _siblings(issue, known)]
        problems += [(("issues", index, *path), detail) for path, detail in _actions(issue)]
    return problems


def _siblings(issue: Mapping[str, Any], known: set[str]) -> list[tuple[Path, str]]:
    router = issue.get("router")
    siblings = router.get("ask_with") if isinstance(router, Mapping) else None
    if not isinstance(siblings, Sequence) or isinstance(siblings, str):
        return []
    problems: list[tuple[Path, str]] = []
    for position, sibling in enumerate(siblings):
        path: Path = ("router", "ask_with", position)
        if not isinstance(sibling, str):
            continue
        if sibling not in known:
            problems.append((path, f"`{sibling}` is no issue of this policy"))
        elif sibling == issue.get("id"):
            problems.append((path, "an issue cannot be its own sibling"))
        elif sibling in siblings[:position]:
            problems.append((path, f"`{sibling}` is named twice"))
    return problems


def _actions(issue: Mapping[str, Any]) -> list[tuple[Path, str]]:
    actions = issue.get("actions")
    if not isinstance(actions, Mapping):
        return []
    review, block = actions.get("review"), actions.get("block")
    if not _is_number(review) or not _is_number(block) or review <= block:
        return []
    return [(("actions", "block"), f"{block} is below review, {review}: nothing would ever be reviewed")]


def _is_number(value: Any) -> TypeIs[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
