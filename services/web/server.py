"""The one door through which every service starts, serves and stops: logs, settings, port, draining, exit code."""

import logging
import math
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, TypeVar

import uvicorn
from fastapi import FastAPI
from prometheus_client import disable_created_metrics
from pydantic import ValidationError
from pydantic_settings import SettingsError

from services.settings import ServiceSettings
from services.telemetry import logs
from services.telemetry.tracing import TracingError
from services.web.admission import Admission

logger = logging.getLogger(__name__)

ANSWER_S = 2
"""Seconds for the 503s of refused requests to reach their callers before connections are cut."""

S = TypeVar("S", bound=ServiceSettings)


class ServiceServer(uvicorn.Server):
    """Uvicorn that lets the reason of a failed start out, and drains the admission before it waits for connections.

    Uvicorn's own way with a lifespan that fails is to print the stack trace and swallow the error.
    """

    def __init__(self, app: FastAPI, settings: ServiceSettings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            # One process owns the spool, the local Qdrant and the model; more of them are more replicas.
            workers=1,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_s) + ANSWER_S,
        )
        super().__init__(config)
        self._admission: Admission = app.state.admission
        self._grace_s = settings.shutdown_grace_s
        self._owned: AbstractAsyncContextManager[Any] = app.router.lifespan_context(app)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open what the service owns, then accept connections."""
        self.lifespan.state.update(await self._owned.__aenter__() or {})
        try:
            await super().startup(sockets)
        except BaseException:
            await self._owned.__aexit__(*sys.exc_info())
            raise

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new work, let the rest finish within the grace time, then close what the service owns."""
        self._admission.drain(self._grace_s)
        await super().shutdown(sockets)
        # A second signal asks for an end without further waiting.
        if not self.force_exit:
            await self._owned.__aexit__(None, None, None)


def run(
    create_app: Callable[[S], FastAPI],
    settings: type[S],
    *,
    service: str,
    expected: tuple[type[Exception], ...] = (),
) -> None:
    """Serve until SIGTERM or SIGINT. A service that cannot start says why in one log line and exits with code 1.

    Args:
        create_app: makes the app, by `services.web.create_service_app`; the app's lifespan opens what it owns.
        settings: read from the environment.
        service: name in logs, e.g. `gateway`.
        expected: errors of a start that an operator can put right, beside OSError; any other one is logged with its
            stack trace.
    """
    try:
        configured = settings()
    except (ValidationError, SettingsError) as error:
        logs.configure(service, "info")
        _refuse(_settings_problem(error, settings))
    logs.configure(service, configured.log_level)
    # The time at which each counter began: as many series again, and no question that needs them.
    disable_created_metrics()
    try:
        # Before anything is loaded, so that a taken port is known at once.
        listener = bind(configured.host, configured.port)
    except OSError as error:
        _refuse(f"{configured.host}:{configured.port} cannot be bound: {error.strerror or error}")
    with listener:
        server: ServiceServer | None = None
        try:
            server = ServiceServer(create_app(configured), configured)
            host, port = listener.getsockname()[:2]
            logger.info("starting", extra={"host": host, "port": port})
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            # Uvicorn raises the signal again once it has shut down.
            return
        except Exception as error:
            if server is not None and server.started:
                logger.exception("the service did not stop cleanly")
                sys.exit(1)
            known = isinstance(error, (OSError, TracingError, *expected))
            _refuse(str(error) or type(error).__name__, trace=not known)


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket that is bound and does not listen yet, so that nobody connects before there is an answer.

    The protocol is named: asyncio sets TCP_NODELAY on connections of such a socket alone, and without it each answer on
    a kept connection waits 40 ms for the acknowledgement of its head.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
    except BaseException:
        listener.close()
        raise
    return listener


def _refuse(why: str, *, trace: bool = False) -> NoReturn:
    logger.error("the service cannot start: %s", why, exc_info=trace)
    sys.exit(1)


def _settings_problem(error: ValidationError | SettingsError, settings: type[ServiceSettings]) -> str:
    """What is wrong with which variable, without the values, which may be secret."""
    if isinstance(error, SettingsError):
        return str(error)
    prefix = settings.model_config.get("env_prefix", "")
    problems = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(map(str, each["loc"]))
        # An alias is a variable's whole name already.
        variable = f"{prefix}{name}".upper() if name.islower() else name
        problems.append(f"{variable}: {each['msg']}" if variable else each["msg"])
    return "; ".join(problems)
