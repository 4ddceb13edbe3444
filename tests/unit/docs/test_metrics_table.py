"""docs/operations/metrics.md lists the metrics that the services expose, with their labels, and nothing else."""

import re

import pytest

from tests.unit.docs.tables import DOCS, METRICS, ROOT, cells, documented_metrics, expected, section_rows

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


def test_every_label_has_its_values() -> None:
    page = (DOCS / "operations/metrics.md").read_text(encoding="utf-8")
    described = " ".join(cells(row)[0] for row in section_rows(page, "Labels and their values")[2:])
    labels = {label for rows in TABLES.values() for row in rows[2:] for label in cells(row)[2].split(", ") if label}
    # Those of prometheus_client's own metrics.
    labels -= {"implementation", "major", "minor", "patchlevel", "generation"}
    assert [label for label in sorted(labels) if not re.search(rf"\b{label}\b", described)] == []


def test_questions_and_alerts_are_about_metrics_that_exist() -> None:
    page = (DOCS / "operations/metrics.md").read_text(encoding="utf-8")
    known = {name for service in METRICS if service != "every service" for name in documented_metrics(service)}
    named = set(re.findall(r"\bwinnow_\w+", page.partition("## Questions")[2]))
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in named} - known == set()
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8")
    alerts = set(re.findall(r"alert: (\w+)", rules))
    assert alerts == set(re.findall(r"`(Winnow\w+)`", page.partition("## Alerts")[2]))
