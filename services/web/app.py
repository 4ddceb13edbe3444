"""The app that every service starts from: errors, ids, logs, metrics, health, OpenAPI."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import metadata
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import Lifespan

from services.contracts import Health
from services.settings import InternalSettings, ServiceSettings
from services.telemetry.exposition import exposition_for
from services.telemetry.metrics import HttpMetrics
from services.telemetry.process import ServiceMetrics
from services.telemetry.tracing import Tracing, TracingSettings
from services.web.admission import Admission
from services.web.body import BodyLimitMiddleware
from services.web.failure import Failure
from services.web.middleware import ObserveMiddleware, TokenMiddleware, TraceMiddleware
from services.web.own_pages import OwnPagesMiddleware
from services.web.problems import MEDIA_TYPE, PROBLEM_REF, add_handlers, problem_schemas

logger = logging.getLogger(__name__)

Readiness = Callable[[Request], Awaitable[dict[str, str]]]
"""Gives what is missing: name of the dependency to the reason; empty where the service is ready."""

READINESS_TIMEOUT_S = 5.0
SCRAPE_READINESS_S = 2.0
"""Prometheus gives a scrape 10 s: a dependency that hangs makes it late, and never fails it."""
DISTRIBUTION = "winnow-moderation"


class ServiceApp(FastAPI):
    """FastAPI whose OpenAPI document names our error body instead of FastAPI's, and what callers have to present.

    Attributes:
        scheme: OpenAPI's name of what callers of /v1 present as a bearer token; None where they present nothing.
    """

    scheme: str | None = None

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = _with_problems(super().openapi(), scheme=self.scheme)
        return self.openapi_schema


def installed_version() -> str:
    """The version in pyproject.toml as it was installed; `0+unknown` where a checkout runs without being installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+unknown"


def create_service_app(
    *,
    title: str,
    description: str,
    settings: ServiceSettings,
    metrics: HttpMetrics,
    admission: Admission,
    lifespan: Lifespan[Any],
    readiness: Readiness,
    access: Middleware | None = None,
    scheme: str | None = None,
) -> FastAPI:
    """An app with everything that the services share, to which a service adds its routes.

    Args:
        title: name of the service in OpenAPI.
        description: what the service does, in Markdown.
        settings: body limits come from here, and the service token where they have one.
        metrics: counts the requests; its registry is what `/metrics` shows.
        admission: drained before the server stops; routes reach it by `admission_of`.
        lifespan: opens and closes what the service owns, and yields its typed state.
        readiness: asked by `/health/ready` and by every scrape, until a failure is declared (services.web.failure);
            what it raises, and taking more than 5 s (2 s in a scrape), count as not ready.
        access: refuses callers before anything of a body is read; None: those without the service
            token, or, where there is none, the pages of other sites.
        scheme: OpenAPI's name of what `access` asks for.

    Raises:
        services.telemetry.tracing.TracingError: a variable of OpenTelemetry has a value that cannot be used.
    """
    version = installed_version()
    # Every process that exports spans is told where by the same variables, which no prefix can tell apart.
    tracing = Tracing(TracingSettings.read(), service=metrics.service, version=version)
    app = ServiceApp(
        title=title,
        description=description,
        version=version,
        lifespan=_traced(lifespan, tracing),
        # A redirect would name the host that the caller claims to have asked, and make it send a video twice.
        redirect_slashes=False,
    )
    app.state.admission = admission
    app.state.failure = failure = Failure(admission)
    if access is None and isinstance(settings, InternalSettings):
        if settings.service_token is None:
            access = Middleware(OwnPagesMiddleware)
        else:
            access, scheme = Middleware(TokenMiddleware, token=settings.service_token), "serviceToken"
    app.scheme = scheme
    add_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    if access is not None:
        app.add_middleware(access.cls, *access.args, **access.kwargs)
    app.add_middleware(ObserveMiddleware, metrics=metrics)
    app.add_middleware(TraceMiddleware, tracing=tracing)
    readiness = _unless_failed(readiness, failure)
    _add_health(app, readiness)
    service_metrics = ServiceMetrics(metrics.registry, metrics.service)
    service_metrics.describe(version=version, places=admission)
    admission.watch(service_metrics.rejected)
    _add_metrics(app, metrics.registry, service_metrics, readiness)
    return app


def _traced(lifespan: Lifespan[Any], tracing: Tracing) -> Callable[[FastAPI], AbstractAsyncContextManager[Any]]:
    """The service's lifespan inside the exporter's."""

    @asynccontextmanager
    async def both(app: FastAPI) -> AsyncIterator[Any]:
        async with tracing.running(), lifespan(app) as state:
            yield state

    return both


def _unless_failed(readiness: Readiness, failure: Failure) -> Readiness:
    async def missing(request: Request) -> dict[str, str]:
        # Before and after: the service may fail while a check waits.
        return failure.missing or {**await readiness(request), **failure.missing}

    return missing


def _add_health(app: FastAPI, readiness: Readiness) -> None:
    @app.get("/health/live", tags=["health"], summary="Whether the process serves requests")
    async def live() -> Health:
        return Health(status="ok")

    @app.get(
        "/health/ready",
        tags=["health"],
        summary="Whether everything is there that the service needs",
        responses={503: {"model": Health, "description": "Something is missing."}},
    )
    async def ready(request: Request, response: Response) -> Health:
        missing = await _missing(readiness, request, READINESS_TIMEOUT_S)
        if missing:
            response.status_code = 503
        return Health(status="unavailable" if missing else "ok", missing=missing)


async def _missing(readiness: Readiness, request: Request, timeout_s: float) -> dict[str, str]:
    try:
        async with asyncio.timeout(timeout_s):
            return await readiness(request)
    except Exception:
        logger.exception("readiness check failed")
        return {"readiness": "the check itself failed; see the log"}


def _add_metrics(
    app: FastAPI, registry: CollectorRegistry, service_metrics: ServiceMetrics, readiness: Readiness
) -> None:
    @app.get("/metrics", tags=["health"], summary="Metrics for Prometheus", response_class=Response)
    async def exposition(request: Request) -> Response:
        service_metrics.ready(not await _missing(readiness, request, SCRAPE_READINESS_S))
        encode, content_type = exposition_for(request.headers.get("Accept", ""))
        # In a thread: rendering many series takes milliseconds.
        return Response(await to_thread.run_sync(encode, registry), headers={"Content-Type": content_type})


def _with_problems(schema: dict[str, Any], *, scheme: str | None) -> dict[str, Any]:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update(problem_schemas())
    problem = {MEDIA_TYPE: {"schema": {"$ref": PROBLEM_REF}}}
    if scheme is not None:
        components["securitySchemes"] = {scheme: {"type": "http", "scheme": "bearer"}}
    for path, item in schema.get("paths", {}).items():
        for operation in item.values():
            responses = operation["responses"]
            default_422 = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
            if default_422.get("$ref", "").endswith("/HTTPValidationError"):
                text = "`invalid_payload`: the payload is against the contract."
                responses["422"] = {"description": text, "content": problem}
            responses.setdefault("default", {"description": "Any other error.", "content": problem})
            if scheme is not None and path.startswith("/v1/"):
                operation["security"] = [{scheme: []}]
    return schema
