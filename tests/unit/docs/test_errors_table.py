"""docs/api/errors.md lists every error with the status and the retryable flag of its class, and each has a test."""

import ast
from pathlib import Path

import gateway.app
import ranker_svc.app
import router_svc.app
from services.errors import WinnowError, error_classes
from tests.unit.docs.tables import DOCS, ROOT, cells, section_rows

# Errors are looked for in what these import.
APPS = (gateway.app, router_svc.app, ranker_svc.app)
PACKAGES = {"services", "gateway", "router_svc", "ranker_svc"}


def covered(module: Path) -> dict[str, bool]:
    """The codes that a test module declares in `COVERS`, and whether the rest of it names the code or its class."""
    source = module.read_text(encoding="utf-8")
    if "COVERS" not in source:
        return {}
    declared: tuple[str, ...] = ()
    named: set[str] = set()
    for statement in ast.parse(source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "COVERS" for target in targets):
            declared = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named.add(node.value)
            elif isinstance(node, ast.Name):
                named.add(node.id)
    names = {cls.code: {cls.code, cls.__name__} for cls in classes()}
    return {code: bool(names.get(code, set()) & named) for code in declared}


def classes() -> list[type[WinnowError]]:
    """The errors that the services may answer with."""
    return [cls for cls in error_classes() if cls.__module__.partition(".")[0] in PACKAGES]


def rows() -> list[list[str]]:
    page = (DOCS / "api/errors.md").read_text(encoding="utf-8")
    return [cells(row) for row in section_rows(page, "Catalogue")[2:]]


def test_every_error_has_one_row_with_its_status() -> None:
    wanted = {(cls.code, str(cls.status), "yes" if cls.retryable else "no") for cls in classes()}
    found = [(row[0], row[1], row[2]) for row in rows()]
    assert set(found) == wanted
    assert len(found) == len(wanted)


def test_every_row_says_when_and_what_to_do() -> None:
    assert [row[0] for row in rows() if len(row) != 5 or not all(row)] == []


def test_every_error_has_a_test_that_declares_it() -> None:
    found: set[str] = set()
    for module in sorted((ROOT / "tests").rglob("test_*.py")):
        codes = covered(module)
        assert [code for code, named in codes.items() if not named] == [], module
        found |= set(codes)
    assert found == {cls.code for cls in classes()}
