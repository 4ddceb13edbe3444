"""Videos by URL: the same decision as for an upload, and nothing of the gateway's own network can be reached."""

import subprocess
import sys
from ipaddress import ip_network

import pytest

from gateway.fetch import GuardedClient, GuardPolicy, SystemResolver
from gateway.fetch.client import trusted_certificates
from gateway.fetch.network import HostUnknown, LookupFailed
from gateway.store import MemoryStore
from services.errors import UrlRefused
from tests.integration.gateway.conftest import Start
from tests.integration.gateway.source import VIDEO, Names, Source, ask, assert_refused, fetching, serving

COVERS = ("url_refused", "invalid_payload")


async def test_a_url_gets_the_decision_of_an_upload_of_the_same_bytes(start: Start, source: Source) -> None:
    store = MemoryStore()
    running = await fetching(start, source, store=store, cache_ttl_s=0)
    running.router.risks["arson"] = 0.9
    running.router.ranks = {"arson": 0.95}
    context = {"context": {"title": "A house"}, "issues": ["arson"]}
    sent = (await running.moderate(VIDEO, request='{"context": {"title": "A house"}, "issues": ["arson"]}')).json()
    fetched = (await ask(running, source.url("/v.mp4?signature=secret#t=1"), **context)).json()
    own = {"id", "created_at", "request_id", "trace_id", "timings"}
    assert {k: v for k, v in fetched.items() if k not in own} == {k: v for k, v in sent.items() if k not in own}
    assert fetched["verdict"] == "block"
    (first, bytes_sent, _), (second, bytes_fetched, _) = running.router.asked
    assert (first, bytes_sent) == (second, bytes_fetched)
    assert store.requests[fetched["id"]].url == source.url("/v.mp4")
    assert running.spooled() == []
    assert await running.metric("winnow_gateway_spool_bytes") == 0
    head = source.requests[0].lower()
    assert head.startswith("get /v.mp4?signature=secret http/1.1\r\n")
    assert f"host: 127.0.0.1:{source.port}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert not {"cookie", "referer", "authorization"} & {line.partition(":")[0] for line in head.splitlines()}


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirects_are_followed(start: Start, source: Source, status: str) -> None:
    running = await fetching(start, source)
    source.redirect("/a", "b/../b?x=1", status)
    source.redirect("/b", source.url("/v.mp4"), status)
    assert (await ask(running, source.url("/a"))).status_code == 200
    assert [each.split(" ")[1] for each in source.requests] == ["/a", "/b?x=1", "/v.mp4"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "0x7f000001", "127.0.0.1.",
        "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]", "[fe80::1%25lo]", "0.0.0.0", "[::]", "0", "localhost.", "127\u30020\u30020\u30021",
        "\u2460\u2461\u2466.0.0.1", "%31%32%37.0.0.1", "\uff11\uff12\uff17.0.0.1",
    ],
)  # fmt: skip
async def test_loopback_is_refused_in_every_spelling(start: Start, source: Source, host: str) -> None:
    running = await start(fetch_ports=f"{source.port}")
    response = await ask(running, f"http://{host}:{source.port}/v.mp4")
    assert_refused(running, response, 422, "url_refused")
    assert source.connections == 0


async def test_ipv6_loopback_never_gets_a_connection(start: Start) -> None:
    async with serving("::1") as source:
        running = await start(fetch_ports=f"{source.port}", fetch_networks="127.0.0.0/8")
        assert_refused(running, await ask(running, source.url()), 422, "url_refused")
        assert source.connections == 0


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", "invalid_payload"),
        ("ftp://127.0.0.1/v.mp4", "invalid_payload"),
        ("gopher://127.0.0.1/", "invalid_payload"),
        ("//127.0.0.1/v.mp4", "invalid_payload"),
        ("http://" + "a" * 5_000, "invalid_payload"),
        ("http://user:password@127.0.0.1:{port}/v.mp4", "url_refused"),
        ("http://127.0.0.1:22/v.mp4", "url_refused"),
        ("http://127.0.0.1:0/v.mp4", "url_refused"),
        ("http://127.0.0.1:99999/v.mp4", "url_refused"),
        ("http:///v.mp4", "url_refused"),
        ("http://a b/v.mp4", "url_refused"),
        ("http://127.0.0.1:{port}\\@example.com/", "url_refused"),
        ("http://example.com\r\nHost: x/", "url_refused"),
    ],
)
async def test_urls_that_are_refused_as_they_stand(start: Start, source: Source, url: str, code: str) -> None:
    running = await fetching(start, source)
    response = await ask(running, url.replace("{port}", str(source.port)))
    assert_refused(running, response, 422, code)
    assert source.connections == 0


@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.2:{port}/v.mp4", "http://[::1]:{port}/", "http://169.254.169.254/latest/meta-data/",
        "http://2130706434:{port}/", "file:///etc/passwd", "ftp://127.0.0.1/", "http://127.0.0.1:22/",
        "http://u:p@127.0.0.1:{port}/v.mp4", "http://[bad/", "//127.0.0.2:{port}/v.mp4", "/loop",
    ],
)  # fmt: skip
async def test_redirects_are_checked_like_the_first_url(start: Start, source: Source, to: str) -> None:
    running = await fetching(start, source)
    source.redirect("/loop", to.replace("{port}", str(source.port)))
    async with serving("127.0.0.2", port=source.port) as private:
        assert_refused(running, await ask(running, source.url("/loop")), 422, "url_refused")
        assert private.connections == 0
    assert source.connections == (6 if to == "/loop" else 1)


async def test_a_name_that_changes_between_check_and_use_leads_nowhere_else(start: Start, source: Source) -> None:
    names = Names({"videos.example": [["127.0.0.1"], ["127.0.0.2"]]})
    running = await fetching(start, source, resolver=names)
    async with serving("127.0.0.2", port=source.port) as private:
        private.video("/v.mp4", b"secret")
        response = await ask(running, source.url(host="videos.example"))
        assert response.status_code == 200
        assert (names.asked, source.connections, private.connections) == (["videos.example"], 1, 0)
        assert f"Host: videos.example:{source.port}\r\n" in source.requests[0]
        running.router.asked.clear()
        # The next request asks again, is told the private address, and does not go there.
        assert_refused(running, await ask(running, source.url(host="videos.example")), 422, "url_refused")
        assert (len(names.asked), private.connections) == (2, 0)


async def test_each_redirect_is_looked_up_anew(start: Start, source: Source) -> None:
    names = Names({"videos.example": [["127.0.0.1"], ["127.0.0.2"]]})
    running = await fetching(start, source, resolver=names)
    source.redirect("/a", "/v.mp4")
    async with serving("127.0.0.2", port=source.port) as private:
        assert_refused(running, await ask(running, source.url("/a", host="videos.example")), 422, "url_refused")
        assert (names.asked, private.connections) == (["videos.example"] * 2, 0)


async def test_one_private_address_among_public_ones_is_enough_to_refuse(start: Start, source: Source) -> None:
    names = Names({"mixed.example": [["127.0.0.1", "127.0.0.2"]], "odd.example": [["127.0.0.1", "not an address"]]})
    running = await fetching(start, source, resolver=names)
    for host in names.answers:
        assert_refused(running, await ask(running, source.url(host=host)), 422, "url_refused")
    assert source.connections == 0


async def test_a_private_host_and_one_that_is_not_there_look_the_same(start: Start, source: Source) -> None:
    running = await start(fetch_ports=str(source.port), resolver=Names({"intranet.example": [["10.0.0.7"]]}))
    answers = [(await ask(running, source.url(host=host))).json() for host in ("intranet.example", "none.example")]
    literal = (await ask(running, f"http://10.0.0.7:{source.port}/")).json()
    assert {(each["code"], each["detail"], each["retryable"]) for each in [*answers, literal]} == {
        ("url_refused", "There is no host of this name that the gateway may reach.", False)
    }


async def test_the_next_address_is_tried_where_one_does_not_answer(start: Start, source: Source) -> None:
    names = Names({"videos.example": [["127.0.0.3", "127.0.0.1"]]})
    running = await fetching(start, source, resolver=names, fetch_networks="127.0.0.0/8")
    assert (await ask(running, source.url(host="videos.example"))).status_code == 200


async def test_hosts_can_be_limited(start: Start, source: Source) -> None:
    names = Names({host: [["127.0.0.1"]] for host in ("a.example", "cdn.b.example", "b.example")})
    running = await fetching(start, source, resolver=names, fetch_hosts="a.example, *.b.example")
    statuses = [(await ask(running, source.url(host=host))).status_code for host in names.answers]
    assert statuses == [200, 200, 422]
    assert names.asked == ["a.example", "cdn.b.example"]


async def test_nothing_is_fetched_where_it_is_switched_off(start: Start, source: Source) -> None:
    running = await fetching(start, source, fetch_enabled=False)
    assert_refused(running, await ask(running, source.url()), 422, "url_refused")
    assert source.connections == 0


async def test_proxies_of_the_environment_are_not_used(
    start: Start, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        running = await fetching(start, source)
        assert (await ask(running, source.url())).status_code == 200
        assert proxy.connections == 0


async def test_the_guarded_client_posts_and_leaves_redirects_to_its_caller(source: Source) -> None:
    policy = GuardPolicy(frozenset({source.port}), [ip_network("127.0.0.1/32")])
    resolver = SystemResolver()
    tls = trusted_certificates(None)
    client = GuardedClient(policy, resolver, tls=tls, connect_timeout_s=1, head_timeout_s=1)
    source.redirect("/hook", "/elsewhere", "307 Temporary")
    headers = [("Content-Type", "application/json")]
    async with client.send(client.check(source.url("/hook")), "POST", headers=headers, content=b"{}") as reply:
        assert (reply.status, reply.headers["location"]) == (307, "/elsewhere")
    assert source.requests[0].startswith("POST /hook HTTP/1.1\r\n")
    assert "Content-Length: 2\r\n" in source.requests[0]
    assert source.connections == 1
    with pytest.raises(UrlRefused):
        async with client.send(client.check(source.url("/hook", host="[::1]")), "POST"):
            raise AssertionError


async def test_the_operating_system_looks_names_up() -> None:
    resolver = SystemResolver()
    assert set(await resolver.resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
    with pytest.raises((HostUnknown, LookupFailed)):
        await resolver.resolve("nothing.invalid", 80)
    with pytest.raises(HostUnknown):
        await resolver.resolve("a" * 70, 80)


HANGING = """
import asyncio, time
from gateway.fetch import network

network._look_up = lambda host, port: time.sleep(600)

async def ask(resolver):
    try:
        async with asyncio.timeout(0.05):
            await resolver.resolve("slow.example", 80)
    except TimeoutError:
        print("late")

async def main():
    resolver = network.SystemResolver()
    await asyncio.gather(*(ask(resolver) for _ in range(10)))

asyncio.run(main())
"""


def test_a_lookup_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    command = (sys.executable, "-c", HANGING)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["late"] * 10
