"""Builds the router's app: what it opens and closes, and when it is ready."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypedDict

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from router_svc.decode_pool import DecodePool
from router_svc.forward import Forwarder
from router_svc.metrics import RouterMetrics
from router_svc.parts import Parts, SeedParts, open_seeds
from router_svc.pipeline import Pipeline
from router_svc.routes import api
from router_svc.sandbox import WorkerLimits
from router_svc.seed_routes import bank_api, seed_api
from router_svc.seeds import Operators
from router_svc.settings import Settings
from router_svc.state import StateReport, remembered_ranker
from services.clients import RankerClient
from services.errors import NotReady
from services.telemetry.metrics import HttpMetrics
from services.web import Admission, create_service_app, free_bytes, hold_spool, used_bytes

logger = logging.getLogger(__name__)

_DESCRIPTION = """
The filter stage of the cascade: a video and the policy slice go in; for every issue the risk, the seeds that it
resembles and, where it is risky, the ranker's answer come out. The seed bank is kept here too.
"""


class State(TypedDict):
    """What the lifespan puts on `request.state`."""

    settings: Settings
    pipeline: Pipeline
    report: StateReport
    operators: Operators


def create_app(settings: Settings, parts: Parts | None = None) -> FastAPI:
    """The router's app; nothing is loaded before it starts."""
    registry = CollectorRegistry()
    app = create_service_app(
        title="Winnow router",
        description=_DESCRIPTION,
        settings=settings,
        metrics=HttpMetrics(registry, "router"),
        admission=Admission(settings.max_requests, service="router", retry_after_s=settings.retry_after_s),
        lifespan=_lifespan(settings, parts or Parts(), RouterMetrics(registry)),
        readiness=_readiness,
    )
    app.include_router(api)
    app.include_router(seed_api())
    app.include_router(bank_api())
    return app


def _lifespan(
    settings: Settings, parts: Parts, metrics: RouterMetrics
) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            spool = await asyncio.to_thread(hold_spool, settings.spool_dir)
            stack.callback(spool.release)
            if spool.removed:
                logger.warning("removed videos that a crash left in the spool", extra={"files": spool.removed})
            decoders = _decoders(settings, parts, metrics)
            stack.push_async_callback(decoders.close)
            starting = asyncio.create_task(decoders.start())  # it takes seconds, as the encoder does
            try:
                seeds: SeedParts = await stack.enter_async_context(open_seeds(settings, parts, decoders, metrics))
            finally:
                await starting
            ranker = identity = None
            if settings.ranker_urls:
                ranker = await stack.enter_async_context(
                    RankerClient(settings.ranker_urls, token=settings.ranker_token, transport=parts.ranker_transport)
                )
                identity = remembered_ranker(ranker)
                stack.push_async_callback(identity.close)
            forwarder = Forwarder(
                ranker,
                frames=settings.rank_frames,
                jpeg_quality=settings.jpeg_quality,
                min_s=settings.forward_min_s,
                reserve_s=settings.forward_reserve_s,
            )
            bank = seeds.operators.bank
            pipeline = Pipeline(settings, decoders, bank, seeds.upkeep, forwarder, metrics)
            metrics.watch(
                spool_bytes=partial(used_bytes, settings.spool_dir),
                free_bytes=partial(free_bytes, settings.spool_dir),
                circuits=ranker.circuits if ranker is not None else dict,
            )
            logger.info("the router has started", extra={"encoder": bank.serving.fingerprint})
            yield State(
                settings=settings,
                pipeline=pipeline,
                report=StateReport(bank, identity),
                operators=seeds.operators,
            )

    return lifespan


def _decoders(settings: Settings, parts: Parts, metrics: RouterMetrics) -> DecodePool:
    return DecodePool(
        workers=settings.decode_workers,
        waiting=settings.decode_waiting,
        timeout_s=settings.decode_timeout_s,
        limits=WorkerLimits(
            memory_bytes=settings.decode_memory_bytes,
            nice=settings.decode_nice,
            confinement=settings.decode_confinement,
        ),
        metrics=metrics,
        tasks_per_worker=settings.decode_tasks_per_worker,
        retry_after_s=settings.retry_after_s,
        task=parts.decode,
    )


async def _readiness(request: Request) -> dict[str, str]:
    operators: Operators = request.state.operators
    try:
        await operators.bank.serving.engine.index.ping()
        return {} if operators.bank.summary().seeds else {"seed bank": "empty"}
    except NotReady as error:
        return {"seed bank": error.detail}
