"""docs/settings.md says what can be set, and nothing else."""

import pytest

from services.settings import ServiceSettings
from tests.unit.docs.tables import DOCS, SETTINGS, cells, section_rows, settings_rows

REGENERATE = "run `python -m tests.unit.docs.tables`"


@pytest.mark.parametrize("service", SETTINGS)
def test_every_setting_has_its_row_and_no_row_is_stale(service: str) -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    found = {cells(row)[0]: cells(row)[1:] for row in section_rows(page, service.capitalize())[2:]}
    wanted = {cells(row)[0]: cells(row)[1:] for row in settings_rows(SETTINGS[service])[2:]}
    assert set(wanted) - set(found) == set(), f"not documented; {REGENERATE}"
    assert set(found) - set(wanted) == set(), f"stale; {REGENERATE}"
    assert found == wanted, REGENERATE


@pytest.mark.parametrize(("service", "cls"), SETTINGS.items())
def test_every_setting_says_what_it_means(service: str, cls: type[ServiceSettings]) -> None:
    assert [name for name, field in cls.model_fields.items() if not field.description] == []
