"""Client of the router: routes videos, and tends the seed bank."""

from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from pydantic import SecretStr

from services.clients import http
from services.clients.multipart import UploadBody
from services.clients.seeds import SeedCalls
from services.contracts import BankStatus, Health, RouteRequest, RouteResult, RouterState, Seed, SeedRequest
from services.deadline import Deadline
from services.errors import (
    DeadlineExceeded,
    DigestMismatch,
    EmptyVideo,
    NoVideoStream,
    Overloaded,
    RouterUnavailable,
    TooLarge,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
    WinnowError,
)

# What the router says about the video or the moment, as against a fault between the services.
_ABOUT_THE_VIDEO = (
    DeadlineExceeded,
    DigestMismatch,
    EmptyVideo,
    NoVideoStream,
    Overloaded,
    TooLarge,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
)


class RouterClient:
    """Asks the router; an async context manager that closes its connections.

    Args:
        url: of the router, or of the load balancer before its replicas.
        token: the router's service token.
        transport: what carries the requests instead of the network.
        max_connections: most calls at a time; further ones wait as long as their deadline allows.

    Attributes:
        seeds: the calls about seeds and the bank.
    """

    def __init__(
        self,
        url: str,
        *,
        token: SecretStr | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        max_connections: int = 64,
    ) -> None:
        self._client = http.make_client(url, token=token, transport=transport, max_connections=max_connections)
        self.seeds = SeedCalls(self._client, RouterUnavailable, "router")

    async def route(self, path: Path, request: RouteRequest, deadline: Deadline) -> RouteResult:
        """Send a video through the filter.

        Raises:
            WinnowError: what the router says about the video, Overloaded, DeadlineExceeded.
            RouterUnavailable: it cannot be reached, or it failed, or it does not understand this version.
            OSError: the file cannot be read.
        """
        body = await UploadBody.of(path, request)
        try:
            response = await http.call(
                self._client, "POST", "/v1/route", deadline=deadline, content=body, headers=body.headers
            )
            return http.result(response, RouteResult)
        except http.CallFailed as error:
            raise RouterUnavailable(f"The router cannot be asked: {error}.") from error
        except _ABOUT_THE_VIDEO:
            raise
        except WinnowError as error:
            raise RouterUnavailable(f"The router answered `{error.code}`: {error.detail}") from error

    async def add_seed(self, path: Path, request: SeedRequest, deadline: Deadline) -> Seed:
        """Add a segment of a video to the bank.

        Raises:
            WinnowError: any error that the router answers with.
            RouterUnavailable: it cannot be reached.
            OSError: the file cannot be read.
        """
        return (await self.seeds.add(path, request, deadline))[0]

    async def bank(self, deadline: Deadline) -> BankStatus:
        """How large the bank is; errors as in `add_seed`."""
        return await self.seeds.bank(deadline)

    async def state(self, deadline: Deadline) -> RouterState:
        """What shapes its results now; errors as in `add_seed`."""
        try:
            return http.result(await http.call(self._client, "GET", "/v1/state", deadline=deadline), RouterState)
        except http.CallFailed as error:
            raise RouterUnavailable(f"The router cannot be asked: {error}.") from error

    async def ready(self, deadline: Deadline) -> Health:
        """What the router says of its readiness."""
        return await http.health(self._client, deadline=deadline)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
