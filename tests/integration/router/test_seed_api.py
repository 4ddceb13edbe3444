"""The seed bank over HTTP: seeds are added, found, changed, removed, copied, and told by the bank's status."""

import asyncio
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from services.contracts import RouteResult, Seed, SeedChange, SeedFilter, SeedRequest
from services.errors import Conflict, InvalidPayload, NotFound, Overloaded, PreconditionFailed, RouterUnavailable
from tests.integration.router.conftest import (
    Running,
    StandInRanker,
    make_parts,
    make_settings,
    policy,
    request_for,
    running,
    soon,
)

Clips = dict[str, Path]
COVERS = ("conflict", "precondition_failed", "precondition_required")


async def post(router: Running, path: Path, body: SeedRequest) -> httpx.Response:
    files = {"request": (None, body.model_dump_json()), "video": path.read_bytes()}
    return await router.http.post("/v1/seeds", files=files)


async def route(router: Running, path: Path, *issues: str) -> RouteResult:
    return await router.client.route(path, request_for(path, policy(*(issues or ("arson",)))), soon())


async def add(router: Running, path: Path, **values: object) -> Seed:
    request = SeedRequest.model_validate({"issue": "arson", **values})
    seed, new = await router.client.seeds.add(path, request, soon())
    assert new
    return seed


async def test_the_same_seed_is_one_seed(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    body = SeedRequest(issue="arson", start_s=3.0, end_s=4.0, note="by hand")
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        first = await post(router, clips["late"], body)
        again = await post(router, clips["late"], body)
        other = await post(router, clips["late"], SeedRequest(issue="arson", start_s=0.0, end_s=2.0))
        status = await router.client.bank(soon())
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert first.json() == again.json()
    assert first.headers["ETag"] == '"1"'
    assert first.json()["id"] != other.json()["id"]
    assert first.json()["vectors"] == 4
    assert first.json()["created_by"] == "local"
    assert status.seeds == {"arson": 2}
    assert status.states == {"active": 2}
    assert status.vectors == 8


async def test_a_seed_is_its_segment_alone(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        await add(router, clips["late"], start_s=3.0, end_s=4.0)
        red, blue = await route(router, clips["red"]), await route(router, clips["blue"])
    assert red.issues[0].escalated
    assert not blue.issues[0].escalated


async def test_a_violation_in_one_frame_is_found(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path, frames_min=8), make_parts(ranker)) as router:
        await add(router, clips["red"])
        result = await route(router, clips["late"])
    assert result.issues[0].escalated
    assert 3.0 <= result.issues[0].matches[0].frame_time_s < 4.0


async def test_a_sentence_is_a_seed(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        request = SeedRequest(issue="arson", kind="text", text="a red picture")
        seed, new = await router.client.seeds.add(None, request, soon())
        red, blue = await route(router, clips["red"]), await route(router, clips["blue"])
        with pytest.raises(NotFound):
            await router.client.seeds.frame(seed.id, 0, soon())
    assert new
    assert seed.text == "a red picture"
    assert red.issues[0].matches[0].seed_id == seed.id
    assert red.issues[0].escalated
    assert not blue.issues[0].escalated


async def test_the_bank_survives_a_restart_and_the_loss_of_its_index(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    settings = make_settings(tmp_path)
    async with running(settings, make_parts(ranker)) as router:
        seed = await add(router, clips["red"])
        before = await router.client.bank(soon())
    for path in sorted((tmp_path / "router" / "index").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    async with running(settings, make_parts(ranker)) as router:
        after = await router.client.bank(soon())
        result = await route(router, clips["red"])
    assert after == before
    assert result.bank_revision == before.revision
    assert result.issues[0].matches[0].seed_id == seed.id


async def test_two_operators_cannot_overwrite_each_other(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        seeds = router.client.seeds
        seed = await add(router, clips["red"])
        changed = await seeds.change(seed.id, SeedChange(note="a"), soon(), version=seed.version, actor="ann")
        with pytest.raises(PreconditionFailed):
            await seeds.change(seed.id, SeedChange(note="b"), soon(), version=seed.version, actor="bob")
        with pytest.raises(PreconditionFailed):
            await seeds.remove(seed.id, "wrong", soon(), version=seed.version, actor="bob")
        unread = await router.http.patch(f"/v1/seeds/{seed.id}", json={"note": "c"})
        kept = await seeds.get(seed.id, soon())
    assert (changed.version, changed.note, changed.updated_by) == (2, "a", "ann")
    assert (unread.status_code, unread.json()["code"]) == (428, "precondition_required")
    assert kept == changed


async def test_a_removed_seed_leaves_a_tombstone_and_can_come_back(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        seeds = router.client.seeds
        seed, other = await add(router, clips["red"]), await add(router, clips["green"])
        gone = await seeds.remove(seed.id, "shows a toy", soon(), version=None, actor="ann")
        result = await route(router, clips["red"])
        listed = await seeds.page(SeedFilter(), soon())
        tombstones = await seeds.page(SeedFilter(state="removed"), soon())
        with pytest.raises(Conflict):
            await seeds.add(clips["red"], SeedRequest(issue="arson"), soon())
        back = await seeds.change(seed.id, SeedChange(state="active"), soon(), version=gone.version)
        again = await route(router, clips["red"])
    assert gone.removed is not None
    assert (gone.removed.by, gone.removed.why) == ("ann", "shows a toy")
    assert seed.id not in {match.seed_id for match in result.issues[0].matches}
    assert [each.id for each in listed.seeds] == [other.id]
    assert [each.id for each in tombstones.seeds] == [seed.id]
    assert back.removed is None
    assert again.issues[0].matches[0].seed_id == seed.id


async def test_an_expired_seed_is_not_searched_for(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        seed = await add(router, clips["red"])
        before = await router.client.bank(soon())
        past = datetime.now(UTC) - timedelta(seconds=1)
        await router.client.seeds.change(seed.id, SeedChange(expires_at=past), soon(), version=1)
        after = await router.client.bank(soon())
        with pytest.raises(RouterUnavailable, match="empty"):
            await route(router, clips["red"])
    assert before.seeds == {"arson": 1}
    assert (after.seeds, after.expired) == ({}, 1)
    assert before.revision != after.revision


async def test_what_has_expired_leaves_the_index_and_a_later_expiry_brings_it_back(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        seeds, serving = router.client.seeds, router.pipeline.bank.serving
        seed, other = await add(router, clips["red"]), await add(router, clips["green"])
        soon_over = datetime.now(UTC) + timedelta(seconds=0.5)
        changed = await seeds.change(seed.id, SeedChange(expires_at=soon_over), soon(), version=1)
        held = await serving.engine.index.seed_ids()
        async with asyncio.timeout(10.0):
            while seed.id in await serving.engine.index.seed_ids():
                await asyncio.sleep(0.05)
        over = datetime.now(UTC)
        await serving.put_away_expired()
        passed_over = serving.catalogue.excluded("0" * 64, over)
        without = await route(router, clips["red"])
        await seeds.change(seed.id, SeedChange(expires_at=None), soon(), version=changed.version)
        with_it = await route(router, clips["red"])
        await seeds.change(other.id, SeedChange(expires_at=over), soon(), version=1)
        await serving.check()
        kept = await serving.engine.index.seed_ids()
    assert held == {seed.id, other.id}
    assert over >= soon_over
    assert passed_over == {}
    assert kept == {seed.id}
    assert seed.id not in {match.seed_id for match in without.issues[0].matches}
    assert with_it.issues[0].matches[0].seed_id == seed.id


async def test_a_share_of_traffic_leaves_the_other_videos_out(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        seed = await add(router, clips["red"])
        await router.client.seeds.change(seed.id, SeedChange(share=1e-9), soon(), version=1)
        without = await route(router, clips["red"])
        await router.client.seeds.change(seed.id, SeedChange(share=1.0), soon(), version=2)
        with_it = await route(router, clips["red"])
    assert without.issues[0].matches == ()
    assert with_it.issues[0].escalated
    assert without.bank_revision != with_it.bank_revision


async def test_a_copy_makes_the_same_seed_in_another_bank(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path / "a"), make_parts(ranker)) as router:
        seed = await add(router, clips["red"], note="from a")
        copy = await router.client.seeds.copy(seed.id, soon())
        frame = await router.client.seeds.frame(seed.id, 0, soon())
        found = await route(router, clips["red"])
    assert Image.open(BytesIO(frame)).format == "JPEG"
    assert copy.frames[0] == frame
    async with running(make_settings(tmp_path / "b"), make_parts(ranker)) as router:
        first = await router.client.seeds.restore(copy, soon(), actor="bob")
        again = await router.client.seeds.restore(copy, soon(), actor="eve")
        same = await route(router, clips["red"])
        without = copy.model_copy(update={"vectors": None, "frames": copy.frames[:1]})
        with pytest.raises(InvalidPayload):
            await router.client.seeds.restore(without, soon())
    assert first[1]
    assert not again[1]
    assert (first[0].id, first[0].note, first[0].created_at) == (seed.id, "from a", seed.created_at)
    assert (first[0].created_by, first[0].updated_by, again[0].updated_by) == (seed.created_by, "bob", "bob")
    assert same.issues == found.issues
    async with running(make_settings(tmp_path / "c"), make_parts(ranker)) as router:
        await router.client.seeds.restore(copy.model_copy(update={"vectors": None}), soon())
        embedded = await route(router, clips["red"])
    assert embedded.issues[0].escalated


async def test_seeds_are_listed_newest_first_in_pages(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        made = [await add(router, clips[name]) for name in ("red", "green", "blue")]
        first = await router.client.seeds.page(SeedFilter(limit=2), soon())
        second = await router.client.seeds.page(SeedFilter(limit=2, cursor=first.next_cursor), soon())
        wrong = await router.http.get("/v1/seeds?cursor=nonsense")
    assert [each.id for each in (*first.seeds, *second.seeds)] == [each.id for each in reversed(made)]
    assert second.next_cursor is None
    assert wrong.status_code == 422


@pytest.mark.parametrize(
    ("with_video", "body"),
    [
        (True, {"kind": "text", "text": "a red picture"}),
        (True, {"start_s": 60.0}),
        (False, {}),
        (False, {"kind": "text", "text": "nothing with a colour"}),
    ],
    ids=["text beside a video", "segment behind the end", "neither", "a sentence that the encoder refuses"],
)
async def test_impossible_seeds(
    tmp_path: Path, clips: Clips, ranker: StandInRanker, with_video: bool, body: dict[str, object]
) -> None:
    request = SeedRequest.model_validate({"issue": "arson", **body})
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        with pytest.raises(InvalidPayload):
            await router.client.seeds.add(clips["red"] if with_video else None, request, soon())
        assert (await router.client.bank(soon())).seeds == {}


async def test_the_bank_takes_so_many_issues(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path, bank_max_issues=2), make_parts(ranker)) as router:
        answers = [
            (await post(router, clips[clip], SeedRequest(issue=issue))).status_code
            for clip, issue in (("red", "arson"), ("red", "theft"), ("red", "fraud"), ("blue", "arson"))
        ]
        status = await router.client.bank(soon())
    assert answers == [201, 201, 422, 201]
    assert status.seeds == {"arson": 2, "theft": 1}


async def test_a_frame_that_is_far_longer_than_wide_is_refused(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path / "a"), make_parts(ranker)) as router:
        seed = await add(router, clips["red"])
        copy = await router.client.seeds.copy(seed.id, soon())
    long = BytesIO()
    Image.new("RGB", (1, 33)).save(long, "JPEG")
    async with running(make_settings(tmp_path / "b"), make_parts(ranker)) as router:
        changed = copy.model_copy(update={"frames": (*copy.frames[:-1], long.getvalue()), "vectors": None})
        with pytest.raises(InvalidPayload, match="1 x 33 pixels"):
            await router.client.seeds.restore(changed, soon())


async def test_bodies_without_a_video_take_a_place_too(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path, max_requests=1), make_parts(ranker)) as router:
        seed = await add(router, clips["red"])
        copy = await router.client.seeds.copy(seed.id, soon())
        with router.app.state.admission.place():
            with pytest.raises(Overloaded):
                await router.client.seeds.restore(copy, soon())
            with pytest.raises(Overloaded):
                await router.client.seeds.add(None, SeedRequest(issue="arson", kind="text", text="red"), soon())
        again = await router.client.seeds.restore(copy, soon())
    assert not again[1]
