"""docs/api/README.md names every route, and every field of a decision."""

import re

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel

import gateway.routes
import ranker_svc.routes
import router_svc.routes
from services.contracts import (
    Answer,
    Context,
    Decision,
    IssueDecision,
    MediaFacts,
    ModelsUsed,
    ModerationRequest,
    SeedMatch,
)
from tests.unit.docs.tables import DOCS, cells, section_rows

ROUTERS: dict[str, tuple[APIRouter, ...]] = {
    "gateway": (gateway.routes.api(),),
    "router": (router_svc.routes.api,),
    "ranker": (ranker_svc.routes.ranking, ranker_svc.routes.about),
}
FIELDS: dict[str, type[BaseModel]] = {
    "The request part": ModerationRequest,
    "Context": Context,
    "A decision": Decision,
    "An issue of a decision": IssueDecision,
    "An answer": Answer,
    "Evidence": SeedMatch,
    "Media": MediaFacts,
    "Models": ModelsUsed,
}


def page() -> str:
    return (DOCS / "api/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("service", ROUTERS)
def test_every_route_is_named(service: str) -> None:
    routes = [route for router in ROUTERS[service] for route in router.routes if isinstance(route, APIRoute)]
    names = [f"{method} {route.path}" for route in routes for method in route.methods]
    assert names
    assert [name for name in names if f"`{name}`" not in page()] == []


def test_no_other_route_is_named() -> None:
    known = {
        f"{method} {route.path}"
        for routers in ROUTERS.values()
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /v1/[^`]*)`", page())) - known == set()


@pytest.mark.parametrize("heading", FIELDS)
def test_every_field_is_explained(heading: str) -> None:
    found = {cells(row)[0]: cells(row)[1] for row in section_rows(page(), heading)[2:]}
    assert set(found) == set(FIELDS[heading].model_fields)
    assert all(found.values())
