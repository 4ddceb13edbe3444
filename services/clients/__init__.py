"""HTTP clients of the three services: deadlines, trace headers and problems travel with every call."""

from services.clients.gateway import GatewayClient
from services.clients.ranker import RankerClient
from services.clients.router import RouterClient
from services.clients.seeds import ACTOR_HEADER, SeedCalls

__all__ = ["ACTOR_HEADER", "GatewayClient", "RankerClient", "RouterClient", "SeedCalls"]
