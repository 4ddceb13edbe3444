"""The app that every service starts from: errors, ids, logs, metrics, health, OpenAPI."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response
from starlette.types import Lifespan

from services.contracts import Health
from services.settings import ServiceSettings
from services.telemetry.metrics import HttpMetrics
from services.web.admission import Admission
from services.web.body import BodyLimitMiddleware
from services.web.middleware import ObserveMiddleware, TokenMiddleware, TraceMiddleware
from services.web.problems import MEDIA_TYPE, PROBLEM_REF, add_handlers, problem_schemas

logger = logging.getLogger(__name__)

Readiness = Callable[[Request], Awaitable[dict[str, str]]]
"""Gives what is missing: name of the dependency to the reason; empty where the service is ready."""

READINESS_TIMEOUT_S = 5.0
DISTRIBUTION = "winnow-moderation"


class ServiceApp(FastAPI):
    """FastAPI whose OpenAPI document names our error body instead of FastAPI's, and the token where one is needed."""

    guarded: bool = False

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = _with_problems(super().openapi(), guarded=self.guarded)
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
) -> FastAPI:
    """An app with everything that the services share, to which a service adds its routes.

    Args:
        title: name of the service in OpenAPI.
        description: what the service does, in Markdown.
        settings: token and body limits come from here.
        metrics: counts the requests; its registry is what `/metrics` shows.
        admission: drained before the server stops; routes reach it by `admission_of`.
        lifespan: opens and closes what the service owns, and yields its typed state.
        readiness: asked by `/health/ready`; what it raises, and taking more than 5 s, count as not ready.
    """
    app = ServiceApp(title=title, description=description, version=installed_version(), lifespan=lifespan)
    app.state.admission = admission
    app.guarded = settings.service_token is not None
    add_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    if settings.service_token is not None:
        app.add_middleware(TokenMiddleware, token=settings.service_token)
    app.add_middleware(ObserveMiddleware, metrics=metrics)
    app.add_middleware(TraceMiddleware)
    _add_health(app, readiness)
    _add_metrics(app, metrics)
    return app


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
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_S):
                missing = await readiness(request)
        except Exception:
            logger.exception("readiness check failed")
            missing = {"readiness": "the check itself failed; see the log"}
        if missing:
            response.status_code = 503
        return Health(status="unavailable" if missing else "ok", missing=missing)


def _add_metrics(app: FastAPI, metrics: HttpMetrics) -> None:
    # A plain function runs in a worker thread: rendering many series takes milliseconds.
    @app.get("/metrics", tags=["health"], summary="Metrics for Prometheus", response_class=Response)
    def exposition(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(metrics.registry), headers={"Content-Type": content_type})


def _with_problems(schema: dict[str, Any], *, guarded: bool) -> dict[str, Any]:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update(problem_schemas())
    problem = {MEDIA_TYPE: {"schema": {"$ref": PROBLEM_REF}}}
    if guarded:
        components["securitySchemes"] = {"serviceToken": {"type": "http", "scheme": "bearer"}}
    for path, item in schema.get("paths", {}).items():
        for operation in item.values():
            responses = operation["responses"]
            default_422 = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
            if default_422.get("$ref", "").endswith("/HTTPValidationError"):
                text = "`invalid_payload`: the payload is against the contract."
                responses["422"] = {"description": text, "content": problem}
            responses.setdefault("default", {"description": "Any other error.", "content": problem})
            if guarded and path.startswith("/v1/"):
                operation["security"] = [{"serviceToken": []}]
    return schema
