"""docs/settings.md says what can be set, and nothing else."""

import pytest
from pydantic_settings import BaseSettings

from services.telemetry.tracing import TracingSettings
from tests.unit.docs.tables import DOCS, SETTINGS, cells, section_rows, settings_rows

REGENERATE = "run `python -m tests.unit.docs.tables`"


ALL: dict[str, type[BaseSettings]] = {**SETTINGS, "traces": TracingSettings}


@pytest.mark.parametrize("service", ALL)
def test_every_setting_has_its_row_and_no_row_is_stale(service: str) -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    found = {cells(row)[0]: cells(row)[1:] for row in section_rows(page, service.capitalize())[2:]}
    wanted = {cells(row)[0]: cells(row)[1:] for row in settings_rows(ALL[service])[2:]}
    assert set(wanted) - set(found) == set(), f"not documented; {REGENERATE}"
    assert set(found) - set(wanted) == set(), f"stale; {REGENERATE}"
    assert found == wanted, REGENERATE


@pytest.mark.parametrize(("service", "cls"), ALL.items())
def test_every_setting_says_what_it_means(service: str, cls: type[BaseSettings]) -> None:
    assert [name for name, field in cls.model_fields.items() if not field.description] == []
