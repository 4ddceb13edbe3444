"""Builds the router's app: what it opens and closes, and when it is ready."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import httpx
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from router_svc.assets import load_background, load_configured_encoder
from router_svc.bank import SeedBank
from router_svc.batcher import EmbedBatcher
from router_svc.decode_pool import DecodePool
from router_svc.decode_worker import DecodeTask, decode_task
from router_svc.forward import Forwarder
from router_svc.metrics import RouterMetrics
from router_svc.pipeline import Pipeline
from router_svc.routes import api
from router_svc.sandbox import WorkerLimits
from router_svc.settings import Settings
from router_svc.state import StateReport, configuration_of, remembered_ranker
from services.clients import RankerClient
from services.encoder import Encoder
from services.errors import NotReady
from services.telemetry.metrics import HttpMetrics
from services.web import Admission, create_service_app, free_bytes, hold_spool, used_bytes

logger = logging.getLogger(__name__)

_DESCRIPTION = """
The filter stage of the cascade: a video and the policy slice go in; for every issue the risk, the seeds that it
resembles and, where it is risky, the ranker's answer come out. Seeds are added here too.
"""


class State(TypedDict):
    """What the lifespan puts on `request.state`."""

    pipeline: Pipeline
    report: StateReport


@dataclass(frozen=True)
class Parts:
    """What an app is built from where it differs from what the settings say; for tests.

    Attributes:
        encoder: makes the encoder; runs in a thread.
        bank: makes the bank for an encoder.
        ranker_transport: carries calls to the ranker instead of the network.
        decode: what a decoder process does with a job; a module-level function.
    """

    encoder: Callable[[], Encoder] | None = None
    bank: Callable[[Encoder], SeedBank] | None = None
    ranker_transport: httpx.AsyncBaseTransport | None = None
    decode: DecodeTask = decode_task


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
                encoder = await asyncio.to_thread(parts.encoder or (lambda: load_configured_encoder(settings)))
            finally:
                await starting
            background = await asyncio.to_thread(load_background, settings, encoder)
            batcher = EmbedBatcher(
                encoder,
                max_frames=settings.embed_batch_frames,
                max_waiting=settings.embed_waiting,
                metrics=metrics,
                retry_after_s=settings.retry_after_s,
            )
            stack.push_async_callback(batcher.close)
            await batcher.start()
            bank = (parts.bank or (lambda encoder: _qdrant(settings, encoder)))(encoder)
            stack.push_async_callback(bank.close)
            with suppress(NotReady):  # a server that is late: readiness names it until it is there
                await bank.open()
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
            report = StateReport(encoder.fingerprint, configuration_of(settings, background), bank, identity)
            pipeline = Pipeline(
                settings, encoder, background, decoders, batcher, bank, forwarder, metrics, report.configuration
            )
            metrics.watch(
                encoder=encoder.fingerprint,
                spool_bytes=partial(used_bytes, settings.spool_dir),
                free_bytes=partial(free_bytes, settings.spool_dir),
                circuits=ranker.circuits if ranker is not None else dict,
            )
            logger.info("the router has started", extra={"encoder": encoder.fingerprint})
            yield State(pipeline=pipeline, report=report)

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


def _qdrant(settings: Settings, encoder: Encoder) -> SeedBank:
    from router_svc.bank.qdrant import QdrantBank

    return QdrantBank(
        encoder.fingerprint,
        encoder.dim,
        path=None if settings.qdrant_url else settings.qdrant_path or settings.data_dir / "router" / "qdrant",
        url=settings.qdrant_url,
        api_key=settings.qdrant_api_key,
        timeout_s=settings.qdrant_timeout_s,
        threads=settings.qdrant_threads,
    )


async def _readiness(request: Request) -> dict[str, str]:
    pipeline: Pipeline = request.state.pipeline
    try:
        status = await pipeline.bank_status()
    except NotReady as error:
        return {"seed bank": error.detail}
    return {} if status.seeds else {"seed bank": "empty"}
