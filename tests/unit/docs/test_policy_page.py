"""docs/policy.md shows the errors that its broken example really gives, and every field of the policy."""

import re

import pytest
from pydantic import BaseModel

from services.contracts import Assembly
from services.policy import (
    Actions,
    FailModes,
    Policy,
    PolicyError,
    PolicyIssue,
    RankerSettings,
    RouterSettings,
    load_policy,
)
from tests.unit.docs.tables import DOCS, cells, section_rows

MODELS: dict[str, type[BaseModel]] = {
    "": Policy,
    "fail_modes.": FailModes,
    "issues[].": PolicyIssue,
    "issues[].router.": RouterSettings,
    "issues[].ranker.": RankerSettings,
    "issues[].ranker.assembly.": Assembly,
    "issues[].actions.": Actions,
}


def page() -> str:
    return (DOCS / "policy.md").read_text(encoding="utf-8")


def test_the_broken_example_gives_the_errors_shown() -> None:
    example = re.search(r"```yaml\n(.*?)```", page(), re.DOTALL)
    output = re.search(r"```text\n(.*?)```", page(), re.DOTALL)
    assert example
    assert output
    with pytest.raises(PolicyError) as raised:
        load_policy(example[1])
    assert str(raised.value) == output[1].rstrip("\n")


def test_every_field_has_its_row() -> None:
    found = {cells(row)[0] for row in section_rows(page(), "Fields")[2:]}
    assert found - {"defaults"} == {prefix + name for prefix, model in MODELS.items() for name in model.model_fields}
