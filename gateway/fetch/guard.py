"""Which URLs the gateway fetches from: scheme, credentials, port, host and redirects. Pure; addresses come later."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import httpx

from gateway.fetch.addresses import Network
from services.contracts.moderation import MAX_URL_LENGTH
from services.errors import UrlRefused

DEFAULT_PORTS = {"http": 80, "https": 443}

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
"""Control characters, blanks and backslashes: programs differ in what they make of them."""
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_HOST = 253


@dataclass(frozen=True)
class GuardPolicy:
    """What an operator permits.

    Attributes:
        ports: that may be connected to.
        networks: addresses that may be reached although they are not public.
        hosts: `name` or `*.name` for everything below it; empty permits every host.
    """

    ports: frozenset[int] = frozenset(DEFAULT_PORTS.values())
    networks: Sequence[Network] = ()
    hosts: Sequence[str] = ()


@dataclass(frozen=True)
class Target:
    """A URL that was checked, taken apart once: what is checked here is what is connected to.

    Attributes:
        scheme: `http` or `https`.
        host: ASCII name in lower case without the final dot, or a literal address without brackets.
        port: that is connected to.
        target: path and query as they are sent.
        url: the whole, to which a redirect may be relative.
        literal: whether `host` is an address already.
    """

    scheme: str
    host: str
    port: int
    target: bytes
    url: httpx.URL = field(repr=False)
    literal: bool

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def target_of(url: str | httpx.URL, policy: GuardPolicy) -> Target:
    """Check a URL and take it apart.

    Raises:
        UrlRefused: it is not one that the policy permits; the text says which rule, and nothing of any network.
    """
    text = str(url)
    if len(text) > MAX_URL_LENGTH or _FORBIDDEN.search(text):
        raise UrlRefused(f"A URL has at most {MAX_URL_LENGTH} characters, without blanks, backslashes or controls.")
    try:
        parsed = httpx.URL(text)
        host = parsed.raw_host.decode("ascii").lower().removesuffix(".")
    except (httpx.InvalidURL, ValueError) as error:
        raise UrlRefused("This is not a URL.") from error
    if parsed.scheme not in DEFAULT_PORTS:
        raise UrlRefused("Only http and https URLs are fetched.")
    if parsed.userinfo:
        raise UrlRefused("A URL with a user name or password is not fetched.")
    port = DEFAULT_PORTS[parsed.scheme] if parsed.port is None else parsed.port
    if port not in policy.ports:
        raise UrlRefused("This port is not permitted; the setting WINNOW_GATEWAY_FETCH_PORTS names those that are.")
    literal = _is_address(host)
    if policy.hosts and not any(_matches(host, pattern) for pattern in policy.hosts):
        raise UrlRefused("This host is not among those that the gateway fetches from.")
    return Target(parsed.scheme, host, port, parsed.raw_path, parsed, literal)


def redirected(current: Target, location: str, policy: GuardPolicy) -> Target:
    """The target of a redirect, checked like the first one.

    Raises:
        UrlRefused: from `target_of`, or it leads from https to http.
    """
    try:
        url = current.url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise UrlRefused("The URL redirects to something that is not a URL.") from error
    following = target_of(url, policy)
    if current.scheme == "https" and following.scheme == "http":
        raise UrlRefused("The URL redirects from https to http.")
    return following


def _is_address(host: str) -> bool:
    """Whether a host is an IP address in its one usual spelling; anything that merely resembles one is refused.

    WHATWG URL, "ends in a number": 127.1, 0x7f.1 and 2130706433 are addresses to some programs and names to others.
    """
    refused = UrlRefused("The URL's host is neither a name nor an address in its usual form.")
    if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            ip_address(host)
        except ValueError as error:
            raise refused from error
        if "%" in host:  # a scope, such as fe80::1%eth0
            raise refused
        return True
    if len(host) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise refused
    return False


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern
