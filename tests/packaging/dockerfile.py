"""Reads a Dockerfile of deploy/docker: its stages, and what the last one says of the container."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
DOCKERFILES = ROOT / "deploy" / "docker"
ROLES = ("gateway", "router", "ranker")
MODULES = {"gateway": "gateway", "router": "router_svc", "ranker": "ranker_svc"}


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name, and its value with line continuations joined."""

    name: str
    value: str


@dataclass(frozen=True)
class Stage:
    """What follows one FROM; `arguments` holds its ARG with their defaults, those without one empty."""

    base: str
    name: str | None
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[str]:
        """The values of every instruction of a name."""
        return [each.value for each in self.instructions if each.name == name]

    def one(self, name: str) -> str:
        """The value of the instruction that stands there once."""
        (value,) = self.all(name)
        return value

    @property
    def arguments(self) -> dict[str, str]:
        """ARG with their defaults."""
        return dict((*value.partition("=")[::2],) for value in self.all("ARG"))

    @property
    def environment(self) -> dict[str, str]:
        """ENV."""
        return dict((*pair.partition("=")[::2],) for value in self.all("ENV") for pair in shlex.split(value))

    @property
    def copies(self) -> list[tuple[list[str], str]]:
        """COPY from the build context: sources and destination."""
        words = [value.split() for value in self.all("COPY") if "--from=" not in value]
        return [(each[:-1], each[-1]) for each in words]

    @property
    def command(self) -> list[str]:
        """CMD in its exec form."""
        return [str(word) for word in json.loads(self.one("CMD"))]

    @property
    def healthcheck(self) -> list[str]:
        """The command of HEALTHCHECK in its exec form."""
        return [str(word) for word in json.loads(self.one("HEALTHCHECK").partition(" CMD ")[2])]


def dockerfile(role: str) -> Path:
    """The role's Dockerfile."""
    return DOCKERFILES / f"{role}.Dockerfile"


def stages(role: str) -> list[Stage]:
    """The stages of the role's Dockerfile, in order."""
    found: list[Stage] = []
    defaults: dict[str, str] = {}
    with dockerfile(role).open("rb") as file:
        structure = DockerfileParser(fileobj=file).structure
    for each in structure:
        name, value = each["instruction"], re.sub(r"\s+", " ", each["value"]).strip()
        if name == "FROM":
            base, _, alias = value.partition(" AS ")
            for argument, default in defaults.items():
                base = base.replace(f"${{{argument}}}", default)
            found.append(Stage(base, alias or None, ()))
        elif name == "ARG" and not found:
            argument, _, default = value.partition("=")
            defaults[argument] = default
        elif name != "COMMENT":
            last = found[-1]
            found[-1] = Stage(last.base, last.name, (*last.instructions, Instruction(name, value)))
    return found
