"""Where a server is: the root under which its routes stand, and a name for it that tells no secret. Pure."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from ranker_svc.engines.protocol import EngineStartError

_API = "/v1"


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
