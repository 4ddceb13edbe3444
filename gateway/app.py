"""Builds the gateway's app and owns what it opens and closes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from gateway.ask_router import RouterCaller
from gateway.intake import Intake
from gateway.metrics import GatewayMetrics
from gateway.pipeline import Pipeline
from gateway.readiness import Readiness
from gateway.records import SqlStore
from gateway.routes import api
from gateway.settings import Settings
from gateway.spool import Spool
from gateway.state import Gateway, State, gateway_of
from gateway.store import DecisionStore, StoreUnavailable
from services.clients import RouterClient
from services.deadline import Deadline
from services.errors import RouterUnavailable
from services.policy import Policy, load_policy
from services.telemetry.metrics import HttpMetrics
from services.web import Admission, create_service_app

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Decides whether a video may be published: `POST /v1/decisions` takes the video and answers `allow`, `review` or `block`
with the numbers that led there. Errors are `application/problem+json` (RFC 9457) with a stable `code`."""


def create_app(
    settings: Settings, *, router_transport: httpx.AsyncBaseTransport | None = None, store: DecisionStore | None = None
) -> FastAPI:
    """The gateway's app.

    Args:
        settings: of this gateway.
        router_transport: carries calls to the router instead of the network.
        store: keeps decisions instead of the database that the settings name.

    Raises:
        services.policy.PolicyError: the policy file cannot be read or has errors.
    """
    policy = load_policy(settings.policy_path)
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)
    admission = Admission(
        settings.max_concurrent_decisions, service="gateway", retry_after_s=settings.overload_retry_after_s
    )
    spool = Spool(settings.spool_path, max_bytes=settings.spool_max_bytes, min_free_bytes=settings.spool_min_free_bytes)
    metrics.spool_bytes.set_function(lambda: spool.booked_bytes)
    metrics.in_flight.set_function(lambda: admission.taken)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        removed = await asyncio.to_thread(spool.prepare)
        if removed:
            logger.warning("removed videos that a crash left in the spool", extra={"files": removed})
        kept = store or SqlStore(
            settings.database, pool_size=settings.database_pool_size, timeout_s=settings.database_timeout_s
        )
        router = RouterClient(
            settings.router_url,
            token=settings.router_token,
            transport=router_transport,
            max_connections=settings.max_concurrent_decisions,
        )
        try:
            await _try_open(kept)
            async with router:
                yield State(gateway=_gateway(settings, policy, metrics, admission, spool, kept, router))
        finally:
            await kept.close()

    app = create_service_app(
        title="Winnow gateway",
        description=DESCRIPTION,
        settings=settings,
        metrics=HttpMetrics(registry, "gateway"),
        admission=admission,
        lifespan=lifespan,
        readiness=_missing,
    )
    app.include_router(api())
    return app


def _gateway(
    settings: Settings,
    policy: Policy,
    metrics: GatewayMetrics,
    admission: Admission,
    spool: Spool,
    store: DecisionStore,
    router: RouterClient,
) -> Gateway:
    pipeline = Pipeline(policy, RouterCaller(router, settings.router_attempts), store, metrics)
    checks = {"database": store.check, "router": _router_check(router, settings.readiness_timeout_s)}
    return Gateway(
        policy=policy,
        pipeline=pipeline,
        intake=Intake(settings, admission, spool, pipeline),
        readiness=Readiness(checks, timeout_s=settings.readiness_timeout_s, ttl_s=settings.readiness_ttl_s),
    )


async def _try_open(store: DecisionStore) -> None:
    """A database that is late must not keep the gateway from starting: readiness names it until it is there."""
    try:
        await store.open()
    except StoreUnavailable as error:
        logger.warning("the database cannot be reached yet", extra={"reason": str(error)})


def _router_check(router: RouterClient, timeout_s: float) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        health = await router.ready(Deadline.after(timeout_s))
        if health.missing or health.status != "ok":
            missing = "; ".join(f"{name}: {why}" for name, why in health.missing.items())
            raise RouterUnavailable(missing or health.status)

    return check


async def _missing(request: Request) -> dict[str, str]:
    return await gateway_of(request).readiness.missing()
