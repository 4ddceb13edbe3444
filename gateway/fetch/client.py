"""One guarded request: a checked URL, one lookup, a connection to a checked address, no redirects, no proxies."""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import certifi
import httpcore
import httpx

from gateway.fetch.addresses import permitted
from gateway.fetch.guard import GuardPolicy, Target, target_of
from gateway.fetch.network import HostUnknown, LookupFailed, PinnedBackend, Resolver
from services.errors import FetchFailed, FetchTimeout, SourceRefused, UrlRefused

logger = logging.getLogger(__name__)

_ENDED_S = 0.25
"""Seconds for what a server may send after its last announced byte, or for its end of the connection."""


@dataclass(frozen=True)
class Reply:
    """The head of a response, whose body may be read once.

    Attributes:
        status: HTTP status.
        headers: of the response.
    """

    status: int
    headers: httpx.Headers
    _response: httpcore.Response = field(repr=False)
    _backend: PinnedBackend = field(repr=False)

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, in pieces of at most 64 KiB, whatever its encoding."""
        # The response itself is not closed here, or `has_surplus` could read nothing; `send` closes the connection.
        async for piece in self._response.aiter_stream():
            yield piece

    async def has_surplus(self, received: int) -> bool:
        """Whether the server sent more than the `received` bytes that it announced as `Content-Length`."""
        stream = self._backend.stream
        if stream is None:
            return False
        if stream.after_head == received:
            try:
                await stream.read(1, timeout=_ENDED_S)
            except (httpcore.NetworkError, httpcore.TimeoutException, ssl.SSLError):
                return False
        return stream.after_head > received


class GuardedClient:
    """Sends requests to hosts that strangers name.

    A name is looked up once, every address of it is checked, and the connection goes to one of these addresses: what
    the name service says a moment later cannot matter. `Host`, SNI and the certificate's check use the name. Nothing
    of the environment (proxies, `.netrc`) is read, and no cookie, referrer or open connection outlives a request.

    Args:
        policy: what is permitted.
        resolver: looks names up.
        tls: trusted certificates.
        connect_timeout_s: seconds for the lookup, and for the connection with its handshake.
        head_timeout_s: seconds from then to the last header of the response.
    """

    def __init__(
        self,
        policy: GuardPolicy,
        resolver: Resolver,
        *,
        tls: ssl.SSLContext,
        connect_timeout_s: float,
        head_timeout_s: float,
    ) -> None:
        self.policy = policy
        self._resolver = resolver
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self._head_timeout_s = head_timeout_s

    def check(self, url: str) -> Target:
        """The target of a URL; UrlRefused where the policy does not permit it."""
        return target_of(url, self.policy)

    @asynccontextmanager
    async def send(
        self, target: Target, method: str = "GET", *, headers: Sequence[tuple[str, str]] = (), content: bytes = b""
    ) -> AsyncIterator[Reply]:
        """Send one request and give the head of its response, whatever its status.

        Raises:
            UrlRefused: no host of that name, or one of its addresses may not be reached: the text is the same.
            FetchFailed, FetchTimeout, SourceRefused: no usable response, also while the block reads the body.
        """
        addresses = await self._addresses(target)
        backend = PinnedBackend(addresses, connect_timeout_s=self._connect_timeout_s)
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.target)
        sent = [("Host", target.authority), ("Connection", "close"), ("User-Agent", "Winnow"), *headers]
        if content or method == "POST":
            sent.append(("Content-Length", str(len(content))))
        timeouts = {"timeout": {"connect": self._connect_timeout_s}}
        request = httpcore.Request(method, url, headers=sent, content=content, extensions=timeouts)
        connection = httpcore.AsyncHTTPConnection(url.origin, ssl_context=self._tls, network_backend=backend)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(backend.aclose)
            with _translated():
                async with _limited(self._connect_timeout_s + self._head_timeout_s, "The URL's server was too slow."):
                    response = await connection.handle_async_request(request)
                yield Reply(response.status, httpx.Headers(response.headers), response, backend)

    async def _addresses(self, target: Target) -> list[str]:
        refused = UrlRefused("There is no host of this name that the gateway may reach.")
        try:
            async with _limited(self._connect_timeout_s, "The host could not be looked up in time."):
                found = [target.host] if target.literal else await self._resolver.resolve(target.host, target.port)
        except HostUnknown as error:
            raise refused from error
        except LookupFailed as error:
            raise FetchFailed("The host could not be looked up.") from error
        addresses = permitted(found, self.policy.networks)
        if not addresses:
            logger.warning("a URL leads to an address that may not be reached", extra={"addresses": list(found)})
            raise refused
        return [str(address) for address in addresses]


def trusted_certificates(extra: Path | None) -> ssl.SSLContext:
    """A TLS context that trusts the usual authorities, whatever the environment says, and those of a PEM file.

    Raises:
        OSError: the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    if extra is not None:
        try:
            context.load_verify_locations(cafile=extra)
        except OSError as error:
            raise OSError(f"the certificates in {extra} cannot be read: {error}") from error
    return context


@asynccontextmanager
async def _limited(seconds: float, said: str) -> AsyncIterator[None]:
    timeout = asyncio.timeout(seconds)
    try:
        async with timeout:
            yield
    except TimeoutError as error:
        if timeout.expired():
            raise FetchTimeout(said) from error
        raise


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the network as ours; none says which address was tried, or what it answered."""
    try:
        yield
    except (httpcore.ConnectError, ssl.SSLError) as error:
        if isinstance(error.__cause__ or error, ssl.SSLCertVerificationError):
            raise SourceRefused("The certificate of the URL's server is not trusted.") from error
        raise FetchFailed("No connection to the URL's server could be made.") from error
    except httpcore.TimeoutException as error:
        raise FetchTimeout("The URL's server was too slow.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise FetchFailed("The URL's server broke off or does not speak HTTP.") from error
