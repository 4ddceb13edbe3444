"""Seeds that operators add by way of the gateway, which asks a real router for them: sent, fetched, from evidence."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway.source import LOOPBACK, Source
from tests.integration.seeds.conftest import NOWHERE, Before, Desk, clip, refused, seed_of


async def test_a_video_that_is_sent_becomes_a_seed_once(desk: Desk, clips: dict[str, Path]) -> None:
    asked = clip(0.5, end_s=1.5, share=0.25, note="seen twice")
    seed = seed_of(await desk.upload(clips["red"], asked), 201)
    assert (seed.issue, seed.kind, seed.start_s, seed.end_s) == ("arson", "golden", 0.5, 1.5)
    assert (seed.share, seed.note, seed.created_by) == (0.25, "seen twice", "local")
    assert seed_of(await desk.upload(clips["red"], asked)) == seed
    assert seed_of(await desk.client.get(f"/v1/seeds/{seed.id}")) == seed
    assert desk.spooled() == []


async def test_a_sentence_becomes_a_seed(desk: Desk) -> None:
    body = {"issue": "arson", "kind": "text", "text": "a house on fire"}
    seed = seed_of(await desk.client.post("/v1/seeds", json=body), 201)
    assert (seed.kind, seed.text, seed.vectors) == ("text", "a house on fire", 1)
    assert seed_of(await desk.client.post("/v1/seeds", json=body)) == seed


async def test_a_video_behind_a_url_becomes_a_seed(before: Before, source: Source, clips: dict[str, Path]) -> None:
    source.video("/red.mp4", clips["red"].read_bytes())
    async with before(fetch_networks=LOOPBACK, fetch_ports=f"80,{source.port}") as desk:
        body = {"issue": "arson", "start_s": 0.125, "url": source.url("/red.mp4?signature=secret")}
        seed = seed_of(await desk.client.post("/v1/seeds", json=body), 201)
        assert seed.start_s == 0.125
        assert desk.spooled() == []
        asked = source.connections
        unknown = await desk.client.post("/v1/seeds", json={**body, "issue": "theft"})
        assert "the policy knows: arson, smoking" in refused(unknown, 422, "unknown_issue")
        assert source.connections == asked
    async with before() as guarded:
        refused(await guarded.client.post("/v1/seeds", json=body), 422, "url_refused")
    async with before(fetch_enabled=False) as without:
        refused(await without.client.post("/v1/seeds", json=body), 422, "url_refused")
    assert source.connections == asked


async def test_the_video_of_an_earlier_decision_becomes_a_seed(desk: Desk, clips: dict[str, Path]) -> None:
    await desk.seed(clips["red"])
    bad = await decided(desk, clips["red"])
    assert bad["verdict"] == "review"
    body = {"issue": "smoking", "decision_id": bad["id"], "end_s": 2.0}
    seed = seed_of(await desk.client.post("/v1/seeds", json=body), 201)
    assert (seed.sha256, seed.issue, seed.end_s) == (bad["sha256"], "smoking", 2.0)
    assert desk.spooled() == []


async def test_what_was_not_kept_cannot_become_a_seed(before: Before, desk: Desk, clips: dict[str, Path]) -> None:
    await desk.seed(clips["red"])
    fine = await decided(desk, clips["green"])
    assert fine["verdict"] == "allow"
    for decision_id, says in (
        (fine["id"], "videos are kept of `review` and `block` alone"),
        ("dec_" + "0" * 32, "no decision with this id"),
        ("../../etc/passwd", "no decision with this id"),
    ):
        body = {"issue": "arson", "decision_id": decision_id}
        assert says in refused(await desk.client.post("/v1/seeds", json=body), 404, "not_found")
    async with before(evidence_days_review=0) as forgetful:
        bad = await decided(forgetful, clips["red"])
        response = await forgetful.client.post("/v1/seeds", json={"issue": "arson", "decision_id": bad["id"]})
        assert "keeps no videos of the verdict `review`" in refused(response, 404, "not_found")
        assert forgetful.spooled() == []


async def decided(desk: Desk, video: Path) -> dict[str, Any]:
    response = await desk.client.post("/v1/decisions", files={"video": ("v.mp4", video.read_bytes(), "video/mp4")})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"issue": "arson"}, "Name what the seed is made of: `url`, `decision_id` or `text`"),
        ({"issue": "arson", "url": "http://a/", "decision_id": "d"}, "give one of text, url and decision_id"),
        ({"issue": "arson", "text": "fire"}, "a seed of kind `text` has a text"),
        ({"issue": "arson", "kind": "text", "url": "http://a/"}, "a seed of kind `text` has a text"),
        ({"issue": "arson", "video": "x"}, "video: Extra inputs are not permitted"),
        ({"issue": "arson", "url": "http://a/", "start_s": "0"}, "start_s: Input should be a valid number"),
    ],
)
async def test_a_body_that_names_no_source_or_two_is_refused(desk: Desk, body: dict[str, Any], says: str) -> None:
    assert says in refused(await desk.client.post("/v1/seeds", json=body), 422, "invalid_payload")
    assert desk.network.asked == []


async def test_a_video_that_is_sent_is_not_named_as_well_and_needs_its_json(desk: Desk, clips: dict[str, Path]) -> None:
    for more in ({"kind": "text", "text": "fire"}, {"url": "http://a/"}, {"decision_id": "d"}):
        named = await desk.upload(clips["red"], clip(0.0, **more))
        assert "A video is sent or named, not both" in refused(named, 422, "invalid_payload")
    refused(await desk.upload(clips["red"], '{"issue": "theft"}'), 422, "unknown_issue")
    alone = await desk.client.post("/v1/seeds", files={"video": ("v.mp4", b"bytes", "video/mp4")})
    assert "`request` is missing" in refused(alone, 400, "malformed_request")
    refused(await desk.client.post("/v1/seeds", content=b"{}"), 400, "malformed_request")
    broken = await desk.client.post("/v1/seeds", content=b"{", headers={"Content-Type": "application/json"})
    refused(broken, 400, "malformed_request")
    assert desk.network.asked == []
    assert desk.spooled() == []


async def test_what_the_router_says_of_a_video_is_passed_on(desk: Desk, tmp_path: Path) -> None:
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(b"no video at all" * 100)
    refused(await desk.upload(noise), 415, "not_a_video")
    assert desk.spooled() == []


async def test_a_video_needs_room_in_the_spool_and_a_sentence_none(before: Before, clips: dict[str, Path]) -> None:
    async with before(spool_max_bytes=10) as small:
        refused(await small.upload(clips["red"]), 507, "storage_full")
        body = {"issue": "arson", "kind": "text", "text": "fire"}
        assert (await small.client.post("/v1/seeds", json=body)).status_code in (200, 201)


async def test_no_more_is_taken_in_than_there_are_places(before: Before) -> None:
    body = {"issue": "arson", "kind": "text", "text": "smoke"}
    async with before(max_concurrent_decisions=1) as desk:
        desk.network.held = asyncio.Event()
        adding = asyncio.create_task(desk.client.post("/v1/seeds", json=body))
        async with asyncio.timeout(10):
            while not desk.network.asked:
                await asyncio.sleep(0.01)
        refused(await desk.client.post("/v1/seeds", json=body), 429, "overloaded")
        refused(await desk.client.post("/v1/seeds/restore", json={}), 429, "overloaded")
        refused(await desk.client.get(f"/v1/seeds/{NOWHERE}/copy"), 429, "overloaded")
        desk.network.held.set()
        seed_of(await adding, 201)
