"""Reads a policy file: defaults merged into every issue, every error with its line and column."""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, to_json

from services.policy.consistency import Path, consistency_problems
from services.policy.document import MAX_BYTES, Document, PolicyError, PolicyProblem, parse_document
from services.policy.model import Actions, Policy, RankerSettings, RouterSettings

_SECTIONS: dict[str, type[BaseModel]] = {"router": RouterSettings, "ranker": RankerSettings, "actions": Actions}
"""What `defaults` may hold: the sections that every issue has."""


def default_policy_path() -> FilePath:
    """The policy that ships with the services: the eight issues of the demo world."""
    return FilePath(__file__).with_name("demo_world.yaml")


def load_policy(source: FilePath | str) -> Policy:
    """Read and check a policy.

    Args:
        source: a path, or the YAML text itself where it is a `str`.

    Raises:
        PolicyError: the file cannot be read, or has errors; it lists all of them with line and column.
    """
    if isinstance(source, str):
        return _validated(parse_document(source, "policy.yaml"), "policy.yaml")
    name = source.name
    try:
        with source.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(name, [PolicyProblem(1, 1, "policy", f"cannot be read: {error}")]) from error
    return _validated(parse_document(text, name), name)


def _validated(document: Document, source: str) -> Policy:
    if not isinstance(document.data, dict):
        raise PolicyError(source, [document.problem((), "must be a mapping with name, version and issues")])
    problems = list(document.problems)
    problems += _default_problems(document)
    merged = _merged(document.data)
    problems += [_consistency_problem(document, path, detail) for path, detail in consistency_problems(merged)]
    try:
        policy = Policy.model_validate_json(to_json(merged, inf_nan_mode="constants"), strict=True)
    except PydanticSerializationError as error:
        problems.append(document.problem((), f"holds text that is not Unicode: {error}"))
    except ValidationError as error:
        # The model's own check of consistency has no path of its own and has already been reported above.
        problems += [_field_problem(document, details) for details in _innermost(error.errors()) if details["loc"]]
    if problems:
        # An error of `defaults` shows in every issue that takes it over, and is told once.
        raise PolicyError(source, list(dict.fromkeys(problems)))
    return policy


def _merged(data: Mapping[str, Any]) -> dict[str, Any]:
    """The document with `defaults` merged into every issue; the issue's own values win."""
    result = {key: value for key, value in data.items() if key != "defaults"}
    if isinstance(result.get("version"), int | float) and not isinstance(result["version"], bool):
        result["version"] = str(result["version"])
    defaults = data.get("defaults")
    if not isinstance(defaults, Mapping) or not isinstance(result.get("issues"), list):
        return result
    known = {key: value for key, value in defaults.items() if key in _SECTIONS and isinstance(value, Mapping)}
    result["issues"] = [_over(known, issue) if isinstance(issue, Mapping) else issue for issue in result["issues"]]
    return result


def _over(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _over(base[key], top[key])
        for key in base.keys() & top.keys()
        if isinstance(base[key], Mapping) and isinstance(top[key], Mapping)
    }
    return {**base, **top, **both}


def _default_problems(document: Document) -> list[PolicyProblem]:
    """Errors of `defaults` by itself, so that a value no issue takes over is checked too."""
    if "defaults" not in document.data:
        return []
    defaults = document.data["defaults"]
    if not isinstance(defaults, Mapping):
        return [document.problem(("defaults",), "must be a mapping")]
    problems = []
    for key, value in defaults.items():
        path: Path = ("defaults", key)
        if key not in _SECTIONS:
            problems.append(document.problem(path, f"unknown key; known: {', '.join(_SECTIONS)}"))
        elif not isinstance(value, Mapping):
            problems.append(document.problem(path, "must be a mapping"))
        else:
            problems += _section_problems(document, path, value)
    return problems


def _section_problems(document: Document, path: Path, value: Mapping[str, Any]) -> list[PolicyProblem]:
    try:
        _SECTIONS[str(path[-1])].model_validate_json(to_json(value, inf_nan_mode="constants"), strict=True)
    except (ValidationError, PydanticSerializationError) as error:
        if isinstance(error, PydanticSerializationError):
            return [document.problem(path, "holds text that is not Unicode")]
        found = [details for details in error.errors() if details["type"] != "missing"]
        return [document.problem((*path, *details["loc"]), _detail(details)) for details in found]
    return []


def _innermost(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without the errors of a container that only follow from those of its parts: a list is "too short" then."""
    locations = [details["loc"] for details in errors]
    return [
        details
        for details in errors
        if not any(loc != details["loc"] and loc[: len(details["loc"])] == details["loc"] for loc in locations)
    ]


def _field_problem(document: Document, details: ErrorDetails) -> PolicyProblem:
    path: Path = details["loc"]
    inherited = _inherited(document, path)
    return document.problem(path if inherited is None else inherited, _detail(details))


def _consistency_problem(document: Document, path: Path, detail: str) -> PolicyProblem:
    """Two thresholds that contradict each other are shown at the one that the issue itself states."""
    sibling = (*path[:-1], "review") if path[-1] == "block" else path
    if path not in document.marks and sibling in document.marks:
        return document.problem(path, detail, at=sibling)
    inherited = _inherited(document, path)
    return document.problem(path, detail, at=inherited)


def _inherited(document: Document, path: Path) -> Path | None:
    """Where in `defaults` the value of an issue comes from; None where the issue states it, or nothing does."""
    if path in document.marks or len(path) < 3 or path[0] != "issues":
        return None
    candidate: Path = ("defaults", *path[2:])
    return candidate if candidate in document.marks else None


def _detail(details: ErrorDetails) -> str:
    match details["type"]:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "missing"
    return details["msg"]
