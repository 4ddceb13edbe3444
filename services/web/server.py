"""The one door through which every service starts, serves and stops: logs, settings, port, draining, exit code."""

import asyncio
import logging
import math
import os
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import FrameType
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
from services.web.failure import Failure, failure_of

logger = logging.getLogger(__name__)

ANSWER_S = 2
"""Seconds for the 503s of refused requests to reach their callers before connections are cut."""

S = TypeVar("S", bound=ServiceSettings)


class ServiceServer(uvicorn.Server):
    """Uvicorn that lets the reason of a failed start out, can be stopped while it starts, stops where the app declares
    a failure, and drains the admission before it waits for connections.

    Uvicorn's own way with a lifespan that fails is to print the stack trace and swallow the error; a signal that comes
    while the lifespan starts waits there until it has.
    """

    def __init__(self, app: FastAPI, settings: ServiceSettings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            # One process owns the spool, the local Qdrant and the model; more of them are more replicas.
            workers=1,
            # Named, since uvicorn takes httptools and uvloop wherever they are installed, as they are beside vLLM:
            # httptools does not bound the head of a request, and all that is said of either loop was tried on this one.
            http="h11",
            loop="asyncio",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_s) + ANSWER_S,
        )
        super().__init__(config)
        self.failure: Failure = failure_of(app)
        self._admission: Admission = app.state.admission
        self._grace_s = settings.shutdown_grace_s
        self._owned: AbstractAsyncContextManager[Any] = app.router.lifespan_context(app)
        self._opening: asyncio.Task[Any] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal; one that comes while the service opens what it owns cancels that."""
        if self.started:
            super().handle_exit(sig, frame)
            return
        # Not kept: uvicorn raises those again at its end.
        self.should_exit = True
        if self._opening is not None:
            self._opening.get_loop().call_soon_threadsafe(self._cancel_opening)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open what the service owns, then accept connections; neither where a signal has come meanwhile."""
        if self.should_exit:
            return
        opening = self._opening = asyncio.current_task()
        try:
            state = await self._owned.__aenter__()
        except BaseException:
            if not self.should_exit or opening is None:
                raise
            opening.uncancel()
            logger.info("stopped before it had started")
            return
        finally:
            self._opening = None
        self.lifespan.state.update(state or {})
        try:
            await super().startup(sockets)
        except BaseException:
            await self._owned.__aexit__(*sys.exc_info())
            raise

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop; uvicorn asks ten times a second."""
        return self.failure.due or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new work, let the rest finish within the grace time, then close what the service owns."""
        self._admission.drain(self._grace_s)
        await super().shutdown(sockets)
        # A second signal asks for an end without further waiting.
        if not self.force_exit:
            await self._owned.__aexit__(None, None, None)

    def _cancel_opening(self) -> None:
        if self._opening is not None:
            self._opening.cancel()


def run(
    create_app: Callable[[S], FastAPI],
    settings: type[S],
    *,
    service: str,
    expected: tuple[type[Exception], ...] = (),
) -> None:
    """Serve until SIGTERM or SIGINT; one that comes during the start ends the process at once, with exit code 0.

    A service that cannot start says why in one log line and exits with code 1, as does one that declares a failure.

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
            with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                runner.run(_serve(server, listener))
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


async def _serve(server: ServiceServer, listener: socket.socket) -> None:
    await server.serve(sockets=[listener])
    if server.failure.missing:
        logger.info("stopped after a failure", extra={"missing": server.failure.missing})
        _leave(1)
    if not server.started:
        _leave(0)


def _leave(code: int) -> NoReturn:
    """End the process without waiting for threads: one that loads a model or hangs in a dead engine cannot be stopped.

    What the service owns has been closed.
    """
    logging.shutdown()
    os._exit(code)


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
