"""One server: where it is, its calls under a deadline, and what its status codes mean to us."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, Field, SecretStr, ValidationError

from ranker_svc.engines.openai.messages import RequestBody
from ranker_svc.engines.protocol import EngineStartError
from services.clients import http
from services.deadline import Deadline

COMPLETIONS = "/v1/chat/completions"
MODELS = "/v1/models"
M = TypeVar("M", bound=BaseModel)

_API = "/v1"
_TOO_LONG = re.compile(
    r"context.{0,10}length|maximum.{0,10}length|max_model_len|too (long|large|many)|at most \d+ image", re.IGNORECASE
)
_CODE = re.compile(r"[A-Za-z_]{1,40}")
# The server closes connections that are idle for 5 s where it runs on uvicorn: ours must not live as long.
_IDLE_S = 2.0


class Refused(Exception):
    """The server answered, and cannot be used as it is set up: wrong key, wrong model. Asking again does not help."""


class Unreachable(Exception):
    """The server cannot be asked now; it may come back. The message is safe to show."""


@dataclass(frozen=True)
class Address:
    """One server.

    Attributes:
        root: URL without `/v1`: chat completions are at `{root}/v1/chat/completions`, vLLM's other routes at `{root}`.
        name: host, port and path, for logs, labels and errors.
    """

    root: str
    name: str


def address_of(url: str) -> Address:
    """The address that a URL means; `/v1` at its end may be there or not.

    Raises:
        EngineStartError: it is no http or https URL, or holds a user, a query or a fragment. The URL is not repeated
            then: what is wrong with it may be a secret in the wrong place.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise EngineStartError("WINNOW_RANKER_OPENAI_URLS holds something that is no URL") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise EngineStartError("WINNOW_RANKER_OPENAI_URLS must hold http or https URLs, e.g. http://127.0.0.1:8000")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise EngineStartError(
            f"the URL of {host} in WINNOW_RANKER_OPENAI_URLS holds a user, a query or a fragment; "
            "a key belongs into WINNOW_RANKER_OPENAI_API_KEY"
        )
    path = parts.path.rstrip("/").removesuffix(_API).rstrip("/")
    authority = f"[{host}]" if ":" in host else host
    if port is not None:
        authority = f"{authority}:{port}"
    return Address(root=f"{parts.scheme}://{authority}{path}", name=f"{authority}{path}")


class ServedModel(BaseModel):
    """A model as `/v1/models` lists it; what is not of OpenAI's protocol is vLLM's."""

    id: str = Field(max_length=512)
    root: str | None = None
    max_model_len: int | None = None


class Models(BaseModel):
    """The answer of `/v1/models`."""

    data: list[ServedModel]


class ServerError(BaseModel):
    """What is told of an error; parts may be missing, their texts are never shown."""

    message: str = ""
    code: str = ""
    param: str = ""


class Server:
    """Speaks to one server.

    Args:
        address: where it is.
        key: its API key, sent as a bearer token.
        max_connections: most calls at a time.
        transport: what carries the requests instead of the network.
    """

    def __init__(
        self,
        address: Address,
        *,
        key: SecretStr | None,
        max_connections: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = address.name
        limits = httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=_IDLE_S
        )
        carrier = transport or httpx.AsyncHTTPTransport(limits=limits, retries=1, trust_env=False)
        self._client = http.make_client(address.root, token=key, transport=carrier)

    async def get(self, path: str, deadline: Deadline) -> httpx.Response:
        """The response, whatever its status.

        Raises:
            DeadlineExceeded, CallFailed: there is none.
        """
        return await http.call(self._client, "GET", path, deadline=deadline)

    async def post(self, path: str, body: RequestBody | Mapping[str, Any], deadline: Deadline) -> httpx.Response:
        """The response to a JSON body, whatever its status.

        Raises:
            DeadlineExceeded, CallFailed: there is none.
        """
        sent = body if isinstance(body, RequestBody) else RequestBody((json.dumps(body).encode(),))
        return await http.call(self._client, "POST", path, deadline=deadline, content=sent, headers=sent.headers)

    async def aclose(self) -> None:
        """Close the connections; calls that run end, and the server sees that nobody waits."""
        await self._client.aclose()


def error_in(response: httpx.Response) -> ServerError:
    """The error that a response tells; empty fields where it tells none."""
    try:
        document = json.loads(response.content)
    except ValueError:
        return ServerError()
    inner = document.get("error", document) if isinstance(document, dict) else None
    if not isinstance(inner, dict):
        return ServerError(message=str(inner)[:2000] if isinstance(inner, str) else "")
    return ServerError(**{name: str(inner[name])[:2000] for name in ServerError.model_fields if inner.get(name)})


def is_too_long(response: httpx.Response) -> bool:
    """Whether a refusal means that frames and text are more than the model, or the server, takes."""
    if response.status_code not in {400, 422}:
        return response.status_code == 413
    error = error_in(response)
    return error.code == "context_length_exceeded" or _TOO_LONG.search(error.message) is not None


def told(response: httpx.Response) -> str:
    """The status, and the error's code where it is one; servers repeat keys and prompts in their messages."""
    code = error_in(response).code
    return f"{response.status_code} {code}" if _CODE.fullmatch(code) else str(response.status_code)


def checked(response: httpx.Response) -> httpx.Response:
    """A response that is no sign of a lasting or a passing fault of the server.

    Raises:
        Refused: the key is wrong or missing.
        Unreachable: the server is overloaded, starting or broken.
    """
    if response.status_code in {401, 403}:
        raise Refused(f"it refuses the API key ({response.status_code}): set WINNOW_RANKER_OPENAI_API_KEY")
    if response.status_code in {408, 429} or response.is_server_error:
        raise Unreachable(f"it answered {told(response)}")
    return response


def parsed(response: httpx.Response, model: type[M]) -> M | None:
    """The body of a success as the model; None where it is something else."""
    try:
        return model.model_validate_json(response.content) if response.is_success else None
    except ValidationError:
        return None
