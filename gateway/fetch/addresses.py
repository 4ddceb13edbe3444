"""Which IP addresses belong to the public internet. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is really reached. Networks without IPv4 resolve to these."""

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only part of IPv6 that IANA has given out for public addresses (RFC 4291, section 2.4)."""

DENIED: tuple[Network, ...] = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments; Oracle's metadata service
    IPv4Network("192.88.99.0/24"),  # relays from 6to4
    IPv4Network("168.63.129.16/32"),  # Azure's host agent: a public address, seen from inside alone
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, ORCHID, benchmarking
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address, perhaps a private one, inside
)
"""Beside what `ipaddress` itself calls private, reserved, loopback, link-local or multicast."""


def effective(address: Address) -> Address:
    """The address that a connection really goes to: the IPv4 address inside of `::ffff:a.b.c.d`, else itself."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet, whatever it is dressed up as."""
    address = effective(address)
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return is_public(IPv4Address(address.packed[-4:]))
        if address not in GLOBAL_UNICAST or address.scope_id is not None:
            return False
    return address.is_global and not address.is_multicast and not _within(address, DENIED)


def permitted(addresses: Sequence[str], allowed: Sequence[Network]) -> tuple[Address, ...]:
    """The addresses to connect to, in the order given; none where a single one is neither public nor allowed.

    A name with one public and one private address is a trick or a mistake, so it is refused whole.

    Args:
        addresses: as a resolver gives them.
        allowed: networks that may be reached although they are not public.
    """
    found: list[Address] = []
    for text in addresses:
        try:
            address = effective(ip_address(text))
        except ValueError:
            return ()
        if not is_public(address) and not _within(address, allowed):
            return ()
        if address not in found:
            found.append(address)
    return tuple(found)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
