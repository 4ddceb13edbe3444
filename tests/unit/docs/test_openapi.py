"""docs/api/*.openapi.json are valid OpenAPI and what the services serve."""

import json

import pytest
from openapi_spec_validator import validate

from tests.unit.docs.openapi import APPS, document, path_of
from tests.unit.docs.tables import ROOT


@pytest.mark.parametrize("service", APPS)
def test_the_document_is_current(service: str) -> None:
    found = path_of(service).read_text(encoding="utf-8")
    assert found == document(service), "run `python -m tests.unit.docs.openapi`"


@pytest.mark.parametrize("service", APPS)
def test_the_document_is_valid(service: str) -> None:
    validate(json.loads(path_of(service).read_text(encoding="utf-8")))


@pytest.mark.parametrize("service", APPS)
def test_the_document_is_the_same_every_time_and_names_no_path_of_this_machine(service: str) -> None:
    text = document(service)
    assert text == document(service)
    assert str(ROOT) not in text


@pytest.mark.parametrize("service", APPS)
def test_every_route_of_the_api_says_that_it_is_guarded(service: str) -> None:
    paths = json.loads(path_of(service).read_text(encoding="utf-8"))["paths"]
    open_ = [path for path, item in paths.items() if not all(operation.get("security") for operation in item.values())]
    assert sorted(open_) == ["/health/live", "/health/ready", "/metrics"]
