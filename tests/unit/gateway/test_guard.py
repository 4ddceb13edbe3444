"""Which URLs and addresses the gateway may reach: pure rules, no network."""

from ipaddress import ip_address, ip_network

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fetch.addresses import is_public, permitted
from gateway.fetch.guard import GuardPolicy, redirected, target_of
from services.errors import UrlRefused

OPEN = GuardPolicy()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
        "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:0:7f00:1::", "2001:10::1",
        "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "4000::1", "5f00::1", "fc00::1",
        "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1%eth0",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert permitted([address], ()) == ()
    assert permitted(["8.8.8.8", address], ()) == ()


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))
    assert permitted([address, address], ()) == (ip_address(address),)


def test_an_address_in_disguise_is_connected_to_as_what_it_is() -> None:
    assert permitted(["::ffff:8.8.8.8"], ()) == (ip_address("8.8.8.8"),)
    assert permitted(["::ffff:10.1.2.3"], (ip_network("10.0.0.0/8"),)) == (ip_address("10.1.2.3"),)


def test_networks_that_are_allowed_and_nothing_beside_them() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00:1::/32"))
    assert permitted(["10.1.2.3", "fd00:1::5", "8.8.8.8"], allowed) != ()
    assert permitted(["10.2.0.1"], allowed) == permitted(["fd00:2::1"], allowed) == permitted(["::1"], allowed) == ()
    assert permitted([], allowed) == permitted(["nothing"], allowed) == ()


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_no_more_public_inside_of_ipv6(address: object) -> None:
    inside = [f"::ffff:{address}", f"64:ff9b::{address}"]
    assert [is_public(ip_address(each)) for each in inside] == [is_public(ip_address(str(address)))] * 2
    assert not is_public(ip_address(f"::{address}"))


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target", "authority"),
    [
        ("http://example.com", "http", "example.com", 80, b"/", "example.com"),
        ("HTTPS://EXAMPLE.com./a?b=c#d", "https", "example.com", 443, b"/a?b=c", "example.com"),
        ("http://example.com:443/a%20b", "http", "example.com", 443, b"/a%20b", "example.com:443"),
        ("https://m\u00fcnchen.de/\u00fc", "https", "xn--mnchen-3ya.de", 443, b"/%C3%BC", "xn--mnchen-3ya.de"),
        ("http://8.8.8.8/", "http", "8.8.8.8", 80, b"/", "8.8.8.8"),
        ("http://[2606:4700::1]:80/", "http", "2606:4700::1", 80, b"/", "[2606:4700::1]"),
        ("http://my_host/", "http", "my_host", 80, b"/", "my_host"),
    ],
)
def test_a_url_is_taken_apart_once(url: str, scheme: str, host: str, port: int, target: bytes, authority: str) -> None:
    found = target_of(url, OPEN)
    assert (found.scheme, found.host, found.port, found.target) == (scheme, host, port, target)
    assert found.authority == authority
    assert found.literal is (host[0] in "28")


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "/a", "file:///etc/passwd", "ftp://h/", "javascript:1", "http:/h", "http://", "http://h:22/",
        "http://h:0/", "http://h:x/", "http://u@h/", "http://u:p@h/", "http://h\\@g/", "http://h/ a", "http://h\t/",
        "http://h\n/", "http://h\x7f/", "http://127.1/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://2130706433",
        "http://1.2.3.4.5/", "http://1.2.3.04/", "http://256.1.1.1/", "http://[::1", "http://[::1%25eth0]/",
        "http://a..b/", "http://-a.b/", "http://a-.b/", "http://%61.b/", "http://" + "a" * 64 + ".b/", "http://.../",
        "http://" + "a." * 130 + "b/", "http://h/" + "a" * 5_000, "http://xn--/", "http://a.0x/", "http://[v1.a]/",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        target_of(url, OPEN)


def test_ports_and_hosts_of_the_policy() -> None:
    policy = GuardPolicy(ports=frozenset({8080}), hosts=("a.example", "*.b.example"))
    for host in ("a.example", "x.b.example", "x.y.b.example"):
        assert target_of(f"http://{host}:8080/", policy).host == host
    for url in ("http://a.example/", "http://x.a.example:8080/", "http://b.example:8080/", "http://xb.example:8080/"):
        with pytest.raises(UrlRefused):
            target_of(url, policy)


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("b", "http://h/a/b"), ("/b", "http://h/b"), ("//g/b", "http://g/b"), ("https://g/", "https://g/"),
        ("?q", "http://h/a/?q"), ("../../..", "http://h/"),
    ],
)  # fmt: skip
def test_where_a_redirect_leads(location: str, leads_to: str) -> None:
    assert redirected(target_of("http://h/a/", OPEN), location, OPEN).url == httpx.URL(leads_to)


@pytest.mark.parametrize(
    "location", ["http://g/", "ftp://g/", "https://u@g/", "https://g:22/", "https://127.1/", "http://["]
)
def test_redirects_that_are_refused(location: str) -> None:
    with pytest.raises(UrlRefused):
        redirected(target_of("https://h/", OPEN), location, OPEN)
