"""What the lifespan opens and every request may use."""

from dataclasses import dataclass
from typing import TypedDict, cast

from starlette.requests import Request

from gateway.intake import Intake
from gateway.pipeline import Pipeline
from gateway.readiness import Readiness
from gateway.seeds import SeedDesk
from services.policy import Policy


@dataclass(frozen=True)
class Gateway:
    """Everything that a running gateway owns."""

    policy: Policy
    pipeline: Pipeline
    intake: Intake
    desk: SeedDesk
    readiness: Readiness


class State(TypedDict):
    """The state that the lifespan yields to Starlette."""

    gateway: Gateway


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves the request."""
    return cast("Gateway", request.state.gateway)
