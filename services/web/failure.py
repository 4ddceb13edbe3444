"""How an app tells its server that it cannot go on, and what callers hear until the process has ended."""

import asyncio
import logging
from typing import cast

from fastapi import FastAPI

from services.web.admission import Admission

logger = logging.getLogger(__name__)


class Failure:
    """A fault that only a new process cures, e.g. a model's engine that died. Declared once; it is never taken back.

    Args:
        admission: of the service; refuses all work once a failure is declared.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.missing: dict[str, str] = {}
        """What readiness says, whatever its own checks find: the part that failed and why; empty while none has."""
        self.due = False
        """Whether the server has to stop now; the process then exits with code 1."""

    def declare(self, part: str, reason: str, *, exit_delay_s: float) -> None:
        """Be not ready and refuse all work from now on, and stop the server later. Called on the running loop.

        Args:
            part: what failed, as readiness names it.
            reason: why, as operators and callers may read it.
            exit_delay_s: seconds until the server stops, in which load balancers can see that it is not ready.
        """
        if self.missing:
            return
        self.missing = {part: reason}
        logger.error("the service cannot go on: %s: %s", part, reason, extra={"exit_delay_s": exit_delay_s})
        self._admission.refuse(f"{part}: {reason}")
        asyncio.get_running_loop().call_later(exit_delay_s, self._stop)

    def _stop(self) -> None:
        self.due = True


def failure_of(app: FastAPI) -> Failure:
    """The failure handle of an app that `create_service_app` made."""
    return cast("Failure", app.state.failure)
