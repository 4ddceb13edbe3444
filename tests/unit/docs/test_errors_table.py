"""docs/api/errors.md lists every error with the status and the retryable flag of its class."""

import gateway.app
import ranker_svc.app
import router_svc.app
from services.errors import error_classes
from tests.unit.docs.tables import DOCS, cells, section_rows

# Errors are looked for in what these import.
APPS = (gateway.app, router_svc.app, ranker_svc.app)
PACKAGES = {"services", "gateway", "router_svc", "ranker_svc"}


def rows() -> list[list[str]]:
    page = (DOCS / "api/errors.md").read_text(encoding="utf-8")
    return [cells(row) for row in section_rows(page, "Catalogue")[2:]]


def test_every_error_has_one_row_with_its_status() -> None:
    classes = [cls for cls in error_classes() if cls.__module__.partition(".")[0] in PACKAGES]
    wanted = {(cls.code, str(cls.status), "yes" if cls.retryable else "no") for cls in classes}
    found = [(row[0], row[1], row[2]) for row in rows()]
    assert set(found) == wanted
    assert len(found) == len(wanted)


def test_every_row_says_when_and_what_to_do() -> None:
    assert [row[0] for row in rows() if len(row) != 5 or not all(row)] == []
