"""docs/operations/metrics.md lists the metrics that the services expose, with their labels, and nothing else."""

import pytest

from tests.unit.docs.tables import DOCS, cells, expected, section_rows

TABLES = {heading: rows for (page, heading), rows in expected().items() if page == "operations/metrics.md"}


@pytest.mark.parametrize("heading", TABLES)
def test_the_table_is_what_the_registry_holds(heading: str) -> None:
    page = (DOCS / "operations/metrics.md").read_text(encoding="utf-8")
    found = {cells(row)[0]: cells(row)[1:] for row in section_rows(page, heading)[2:]}
    wanted = {cells(row)[0]: cells(row)[1:] for row in TABLES[heading][2:]}
    assert found == wanted, "run `python -m tests.unit.docs.tables`"


def test_every_service_has_metrics_of_its_own() -> None:
    assert len(TABLES) == 4
    assert all(len(rows) > 2 for rows in TABLES.values())
