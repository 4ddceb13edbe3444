"""Client of the gateway's public API."""

from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from services.clients import http
from services.clients.multipart import UploadBody
from services.clients.seeds import SeedCalls
from services.contracts import Decision, Health, ModerationRequest
from services.deadline import Deadline
from services.errors import NotReady


class GatewayClient:
    """Asks the gateway for decisions; an async context manager that closes its connections.

    Args:
        url: of the gateway, e.g. `http://127.0.0.1:8080`.
        api_key: where the gateway asks for one.
        transport: what carries the requests instead of the network.

    Attributes:
        seeds: the calls about seeds and the bank, of operators.

    Every call raises DeadlineExceeded when its deadline passes, NotReady where the gateway cannot be asked, and
    whatever error the gateway answers with.
    """

    def __init__(
        self, url: str, *, api_key: SecretStr | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._client = http.make_client(url, token=api_key, transport=transport)
        self.seeds = SeedCalls(self._client, NotReady, "gateway")

    async def moderate(self, path: Path, request: ModerationRequest, deadline: Deadline) -> Decision:
        """Upload a video and wait for its decision.

        Raises:
            OSError: the file cannot be read.
        """
        body = await UploadBody.of(path, request)
        try:
            response = await http.call(
                self._client, "POST", "/v1/decisions", deadline=deadline, content=body, headers=body.headers
            )
            return http.result(response, Decision)
        except http.CallFailed as error:
            raise NotReady(f"The gateway cannot be asked: {error}.") from error

    async def moderate_url(self, request: ModerationRequest, deadline: Deadline) -> Decision:
        """Have the gateway fetch the video at `request.url`, and wait for its decision."""
        body = http.compact(request)
        try:
            response = await http.call(
                self._client, "POST", "/v1/decisions", deadline=deadline, content=body, headers=http.json_headers()
            )
            return http.result(response, Decision)
        except http.CallFailed as error:
            raise NotReady(f"The gateway cannot be asked: {error}.") from error

    async def decision(self, decision_id: str, deadline: Deadline) -> Decision:
        """A decision made earlier; NotFound where there is none."""
        try:
            path = f"/v1/decisions/{quote(decision_id, safe='')}"
            return http.result(await http.call(self._client, "GET", path, deadline=deadline), Decision)
        except http.CallFailed as error:
            raise NotReady(f"The gateway cannot be asked: {error}.") from error

    async def ready(self, deadline: Deadline) -> Health:
        """What the gateway says of its readiness."""
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
