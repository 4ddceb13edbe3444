"""Builds the gateway's app and owns what it opens and closes."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from gateway.ask_router import RouterCaller
from gateway.auth import KeyRing, access_of
from gateway.cache import CachedResults, ResultCache, create_result_cache
from gateway.cache.live import live_state
from gateway.evidence import Evidence
from gateway.fetch import Downloader, GuardedClient, GuardPolicy, Resolver, SystemResolver
from gateway.fetch.client import trusted_certificates
from gateway.intake import Intake
from gateway.metrics import GatewayMetrics
from gateway.pipeline import Pipeline
from gateway.readiness import Readiness
from gateway.reception import Reception
from gateway.records import SqlStore
from gateway.routes import api
from gateway.seeds import SeedDesk
from gateway.settings import Settings
from gateway.spool import Spool
from gateway.state import Gateway, State, gateway_of
from gateway.store import DecisionStore
from services.clients import RouterClient
from services.database import StoreUnavailable
from services.deadline import Deadline
from services.errors import RouterUnavailable
from services.policy import load_policy
from services.storage import Storage
from services.telemetry.metrics import HttpMetrics
from services.web import Admission, create_service_app, free_bytes

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Decides whether a video may be published: `POST /v1/decisions` takes the video and answers `allow`, `review` or `block`
with the numbers that led there. Operators tend the seed bank under `/v1/seeds` and `/v1/bank`.
Errors are `application/problem+json` (RFC 9457) with a stable `code`."""


def create_app(
    settings: Settings,
    *,
    router_transport: httpx.AsyncBaseTransport | None = None,
    store: DecisionStore | None = None,
    resolver: Resolver | None = None,
) -> FastAPI:
    """The gateway's app.

    Args:
        settings: of this gateway.
        router_transport: carries calls to the router instead of the network.
        store: keeps decisions instead of the database that the settings name.
        resolver: looks up the hosts of videos instead of the operating system.

    Raises:
        services.policy.PolicyError: the policy file cannot be read or has errors.
        services.api_keys.KeysError: the file of API keys cannot be read or has errors.
        OSError: the file of certificate authorities cannot be read.
        StoreUrlError, CacheUrlError, StorageUrlError: the URL of the database, of Redis or of the storage of evidence
            cannot be used.
    """
    policy = load_policy(settings.policy_path)
    ring = None if settings.api_keys_path is None else KeyRing(settings.api_keys_path)
    downloader = _downloader(settings, resolver or SystemResolver()) if settings.fetch_enabled else None
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)
    admission = Admission(
        settings.max_concurrent_decisions, service="gateway", retry_after_s=settings.overload_retry_after_s
    )
    spool = Spool(settings.spool_path, max_bytes=settings.spool_max_bytes, min_free_bytes=settings.spool_min_free_bytes)
    metrics.spool_bytes.set_function(lambda: spool.booked_bytes)
    metrics.spool_limit_bytes.set(settings.spool_max_bytes)
    metrics.spool_free_bytes.set_function(lambda: free_bytes(settings.spool_path))
    metrics.show_policy(policy)

    kept = store or SqlStore(
        settings.database, pool_size=settings.database_pool_size, timeout_s=settings.database_timeout_s
    )
    entries = create_result_cache(settings)
    storage = Storage(settings.evidence_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            if ring is not None:
                await stack.enter_async_context(ring.watched())
            removed = await stack.enter_async_context(spool.held())
            if removed:
                logger.warning("removed videos that a crash left in the spool", extra={"files": removed})
            stack.push_async_callback(kept.close)
            await _try_open(kept)
            router = await stack.enter_async_context(
                RouterClient(
                    settings.router_url,
                    token=settings.router_token,
                    transport=router_transport,
                    max_connections=settings.max_concurrent_decisions,
                )
            )
            results = _results(settings, entries, router, metrics)
            if results is not None:
                stack.push_async_callback(results.close)
            evidence = _evidence(settings, storage, metrics)
            await stack.enter_async_context(evidence.running())
            caller = RouterCaller(router, settings.router_attempts)
            pipeline = Pipeline(policy, caller, kept, metrics, results, evidence)
            reception = Reception(settings, admission, spool, metrics, downloader)
            desk = SeedDesk(reception, pipeline, evidence, router.seeds)
            checks = {"database": kept.check, "router": _router_check(router, settings.readiness_timeout_s)}
            readiness = Readiness(checks, timeout_s=settings.readiness_timeout_s, ttl_s=settings.readiness_ttl_s)
            intake = Intake(reception, pipeline)
            yield State(gateway=Gateway(policy, pipeline, intake, desk, readiness))

    app = create_service_app(
        title="Winnow gateway",
        description=DESCRIPTION,
        settings=settings,
        metrics=HttpMetrics(registry, "gateway"),
        admission=admission,
        lifespan=lifespan,
        readiness=_missing,
        access=access_of(ring),
        scheme=None if ring is None else "apiKey",
    )
    app.include_router(api())
    return app


def _downloader(settings: Settings, resolver: Resolver) -> Downloader:
    client = GuardedClient(
        GuardPolicy(frozenset(settings.fetch_ports), settings.fetch_networks, settings.fetch_hosts),
        resolver,
        tls=trusted_certificates(settings.fetch_ca_path),
        connect_timeout_s=settings.fetch_connect_timeout_s,
        head_timeout_s=settings.fetch_stall_s,
    )
    return Downloader(
        client,
        max_bytes=settings.max_video_bytes,
        timeout_s=settings.fetch_timeout_s,
        stall_s=settings.fetch_stall_s,
        max_redirects=settings.fetch_max_redirects,
    )


def _evidence(settings: Settings, storage: Storage, metrics: GatewayMetrics) -> Evidence:
    return Evidence(
        storage,
        settings.evidence_waiting_path,
        days=settings.evidence_days,
        max_waiting_bytes=settings.spool_max_bytes // 4,
        path=settings.evidence_path,
        min_free_bytes=settings.evidence_min_free_bytes,
        outcomes=metrics.evidence,
    )


def _results(
    settings: Settings, entries: ResultCache | None, router: RouterClient, metrics: GatewayMetrics
) -> CachedResults | None:
    if entries is None:
        return None
    return CachedResults(entries, live_state(router, ttl_s=settings.cache_state_ttl_s), metrics)


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
