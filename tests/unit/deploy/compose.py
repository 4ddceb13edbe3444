"""Reads the compose files as Compose does: variables filled in, the overlay laid over the first file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.packaging.dockerfile import ROOT

COMPOSE = ROOT / "docker-compose.yml"
GPU = ROOT / "deploy" / "compose.gpu.yml"
EXAMPLE = ROOT / ".env.example"
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")
REPLACED = frozenset({"command", "entrypoint", "test"})
"""Lists that an overlay replaces; it adds to any other."""


class Unset(Exception):
    """A variable that has to be set is not; the message is what Compose would print."""


def filled(text: str, environment: Mapping[str, str]) -> str:
    """Text of a compose file with its variables: `${A}`, `${A:-default}`, `${A:?message}`, `$$`.

    Raises:
        Unset: a required one is missing or empty.
    """

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        given = environment.get(match["name"], "")
        if given or match["kind"] != "?":
            return given or match["rest"] or ""
        raise Unset(f"{match['name']}: {match['rest']}")

    return VARIABLE.sub(value, text)


def example(**given: str) -> dict[str, str]:
    """The variables of .env.example, those that are empty there with a value."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value or f"{name.lower()}0123" for name, value in pairs.items() if name != "TORCH_INDEX_URL"} | given


def load(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """A compose file, variables filled in. A number in a variable's place stays a number, as the schema allows."""
    loaded = yaml.safe_load(filled(path.read_text(encoding="utf-8"), environment))
    assert isinstance(loaded, dict)
    return loaded


def merged(base: Any, over: Any, key: str = "") -> Any:
    """What Compose makes of two files: mappings are merged, lists joined, anything else replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        both = {name: merged(base[name], over[name], name) for name in base.keys() & over.keys()}
        return {**base, **over, **both}
    if isinstance(base, list) and isinstance(over, list) and key not in REPLACED:
        return [*base, *over]
    return over


def seconds(duration: str) -> float:
    """A duration such as `1m30s` in seconds."""
    units = {"s": 1, "m": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([smh])", duration))
