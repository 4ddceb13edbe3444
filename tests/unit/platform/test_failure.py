"""A declared failure: what readiness says, when the server has to stop, and that the first one counts."""

import asyncio
import logging

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.settings import ServiceSettings
from services.telemetry.metrics import HttpMetrics
from services.web import Admission, Failure, create_service_app, failure_of


async def test_it_is_due_after_its_delay_and_the_first_one_counts(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(1, service="sample", retry_after_s=1.0)
    failure = Failure(admission)
    assert (failure.missing, failure.due) == ({}, False)
    with caplog.at_level(logging.ERROR):
        failure.declare("engine", "it died", exit_delay_s=0.05)
        failure.declare("disk", "it is full", exit_delay_s=0.0)
    assert failure.missing == {"engine": "it died"}
    assert admission.stopped.is_set()
    await asyncio.sleep(0.01)
    assert not failure.due
    await asyncio.sleep(0.1)
    assert failure.due
    (line,) = caplog.messages
    assert "engine: it died" in line


@pytest.mark.parametrize("found", [{}, {"engine": "busy", "bank": "empty"}])
async def test_readiness_tells_it_whatever_a_check_says_that_began_before(found: dict[str, str]) -> None:
    checking, go_on = asyncio.Event(), asyncio.Event()

    async def readiness(_: object) -> dict[str, str]:
        checking.set()
        await go_on.wait()
        return found

    app = create_service_app(
        title="Sample",
        description="",
        settings=ServiceSettings(port=0),
        metrics=HttpMetrics(CollectorRegistry(), "sample"),
        admission=Admission(1, service="sample", retry_after_s=1.0),
        lifespan=None,  # type: ignore[arg-type]
        readiness=readiness,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://sample") as client:
        asked = asyncio.create_task(client.get("/health/ready"))
        await checking.wait()
        failure_of(app).declare("engine", "it died", exit_delay_s=60.0)
        go_on.set()
        first, second = await asked, await client.get("/health/ready")
    assert (first.status_code, first.json()["missing"]) == (503, {**found, "engine": "it died"})
    assert (second.status_code, second.json()["missing"]) == (503, {"engine": "it died"})
