"""Builds the ranker's app: what it owns, when it is ready, its routes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from ranker_svc.engines.create import calibrators_directory, create_engine
from ranker_svc.engines.protocol import Engine
from ranker_svc.metrics import RankerMetrics
from ranker_svc.ranker import Ranker
from ranker_svc.routes import about, ranking
from ranker_svc.settings import Settings
from services.calibration import load_calibrators
from services.telemetry.metrics import HttpMetrics
from services.web import Admission, Failure, create_service_app, failure_of

_DESCRIPTION = """
The refine stage of the cascade: frames of a risky video and the issues to judge go in; for every issue the model's Yes
and No logits, their share of the distribution, the assembled score and the calibrated probability come out.
"""


class State(TypedDict):
    """What the lifespan puts on `request.state`."""

    ranker: Ranker


def create_app(settings: Settings, *, engine: Callable[[], Engine] | None = None) -> FastAPI:
    """The ranker's app; nothing is loaded before it starts.

    Args:
        settings: see ranker_svc.settings.
        engine: makes the engine when the app starts; by default the one that the settings name.
    """
    registry = CollectorRegistry()
    metrics = RankerMetrics(registry)
    admission = Admission(settings.max_waiting, service="ranker", retry_after_s=settings.retry_after_s)
    app = create_service_app(
        title="Winnow ranker",
        description=_DESCRIPTION,
        settings=settings,
        metrics=HttpMetrics(registry, "ranker"),
        admission=admission,
        lifespan=_lifespan(settings, metrics, engine or (lambda: create_engine(settings))),
        readiness=_readiness,
    )
    app.include_router(ranking)
    app.include_router(about)
    return app


def _lifespan(
    settings: Settings, metrics: RankerMetrics, make_engine: Callable[[], Engine]
) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        calibrators = await asyncio.to_thread(load_calibrators, calibrators_directory(settings))
        decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="frame-decoder")
        engine = make_engine()
        try:
            await engine.start()
            with metrics.watching(
                waiting=lambda: engine.waiting, model=lambda: engine.identity, collector=engine.collector
            ):
                watch = asyncio.create_task(_declare_death(engine, metrics, failure_of(app), settings.exit_delay_s))
                try:
                    yield State(ranker=Ranker(settings, engine, calibrators, decoder, metrics))
                finally:
                    watch.cancel()
        finally:
            await engine.close()
            await asyncio.to_thread(decoder.shutdown, wait=True, cancel_futures=True)

    return lifespan


async def _declare_death(engine: Engine, metrics: RankerMetrics, failure: Failure, exit_delay_s: float) -> None:
    try:
        reason = await engine.died()
    except Exception as error:  # an engine that cannot be watched might be dead
        reason = f"it cannot be watched: {type(error).__name__}: {error}"
    metrics.died()
    failure.declare("engine", reason, exit_delay_s=exit_delay_s)


async def _readiness(request: Request) -> dict[str, str]:
    ranker: Ranker = request.state.ranker
    reason = await ranker.engine.health()
    return {} if reason is None else {"engine": reason}
