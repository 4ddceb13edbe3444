"""A video through the whole router: filtered or escalated, with evidence, and the ranker's answer or why none."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from services.contracts import Context, SeedRequest
from services.errors import (
    DeadlineExceeded,
    DigestMismatch,
    InvalidPayload,
    NotReady,
    Overloaded,
    RankerUnavailable,
    RouterUnavailable,
    TruncatedVideo,
    UnsupportedMedia,
    WinnowError,
)
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


async def seeded(router: Running, clips: Clips) -> None:
    """Red is arson, unless it is known to be harmless; green is smoking."""
    await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
    await router.client.add_seed(clips["green"], SeedRequest(issue="smoking", kind="centroid"), soon())


async def test_what_resembles_no_seed_is_filtered(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        await seeded(router, clips)
        result = await router.client.route(
            clips["blue"], request_for(clips["blue"], policy("arson", "smoking")), soon()
        )
        metrics = (await router.http.get("/metrics")).text
    assert [issue.escalated for issue in result.issues] == [False, False]
    assert all(issue.risk < 0.9 for issue in result.issues)
    assert (result.rank, result.rank_missing, ranker.asked) == (None, "not_escalated", [])
    assert result.media.duration_s == pytest.approx(3.0, abs=0.1)
    assert len(result.frame_times_s) == 8
    assert result.timings.stages.keys() == {"decode", "embed", "search"}
    assert 'winnow_router_videos_total{escalated="false"} 1.0' in metrics
    assert 'winnow_router_bank_seeds{issue="arson"} 1.0' in metrics
    assert 'winnow_router_stage_duration_seconds_count{stage="decode"} 1.0' in metrics
    assert list((tmp_path / "router" / "spool").iterdir()) == []


async def test_an_issue_without_seeds_is_no_silent_pass(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        await seeded(router, clips)
        await router.client.add_seed(clips["green"], SeedRequest(issue="theft", kind="negative"), soon())
        asked = request_for(clips["blue"], policy("arson", "theft", "fraud"))
        result = await router.client.route(clips["blue"], asked, soon())
    assert [each.split("`")[1] for each in result.warnings] == ["theft", "fraud"]


async def test_one_risky_second_escalates_with_evidence(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    slice_ = policy("arson", "smoking", "gambling", ask_with=("gambling", "elsewhere"))
    context = Context(title="bonfire")
    async with running(make_settings(tmp_path, rank_frames=4), make_parts(ranker)) as router:
        await seeded(router, clips)
        result = await router.client.route(clips["late"], request_for(clips["late"], slice_, context=context), soon())
    arson, smoking, _ = result.issues
    assert (arson.escalated, smoking.escalated) == (True, False)
    assert arson.risk > 0.99 > smoking.risk
    assert arson.matches[0].frame_time_s == pytest.approx(3.5, abs=0.5)
    assert arson.matches[0].kind == "golden"
    assert result.rank is not None
    assert [issue.id for issue in result.rank.issues] == ["arson", "gambling"]
    assert result.rank_missing is None
    (asked,) = ranker.asked
    assert asked.context == context
    assert tuple(frame.time_s for frame in asked.frames) == result.rank_frame_times_s
    assert len(asked.frames) == 4
    assert arson.matches[0].frame_time_s in result.rank_frame_times_s
    pictures = [Image.open(io.BytesIO(frame.jpeg)) for frame in asked.frames]
    assert {(picture.format, picture.size) for picture in pictures} == {("JPEG", (64, 48))}
    assert 0 < ranker.deadlines_ms[0] < 30_000


async def test_a_known_look_alike_lowers_the_risk(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    request = request_for(clips["red"], policy("arson"))
    settings = make_settings(tmp_path)
    async with running(settings, make_parts(ranker)) as router:
        await seeded(router, clips)
        before = await router.client.route(clips["red"], request, soon())
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson", kind="negative"), soon())
        after = await router.client.route(clips["red"], request, soon())
    lowered = settings.negative_weight * (1.0 - settings.negative_margin)
    assert lowered > 0.1
    assert before.issues[0].risk > 0.99
    assert after.issues[0].risk == pytest.approx(before.issues[0].risk - lowered, abs=0.02)
    assert before.bank_revision != after.bank_revision


async def test_full_mode_escalates_everything_even_without_seeds(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        request = request_for(clips["blue"], policy("arson", "smoking"), mode="full")
        result = await router.client.route(clips["blue"], request, soon())
    assert all(issue.escalated and issue.risk == 0 for issue in result.issues)
    assert result.rank is not None
    assert len(result.rank.issues) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Overloaded("busy"), "overloaded"),
        (RankerUnavailable("gone"), "unavailable"),
        (NotReady("loading"), "unavailable"),
        (InvalidPayload("no"), "refused"),
        (DeadlineExceeded("late"), "deadline"),
    ],
)
async def test_a_ranker_without_answer_is_named(
    tmp_path: Path, clips: Clips, ranker: StandInRanker, error: WinnowError, reason: str
) -> None:
    ranker.error = error
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        await seeded(router, clips)
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert (result.rank, result.rank_missing) == (None, reason)
    assert result.issues[0].escalated


async def test_too_little_time_for_the_ranker(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path, forward_min_s=25.0), make_parts(ranker)) as router:
        await seeded(router, clips)
        request = request_for(clips["red"], policy("arson"))
        result = await router.client.route(clips["red"], request, soon(20.0))
    assert (result.rank_missing, ranker.asked) == ("deadline", [])


async def test_no_ranker_at_all(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path, ranker_urls=()), make_parts(ranker)) as router:
        await seeded(router, clips)
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert result.rank_missing == "unavailable"


async def test_bad_videos_are_named_and_the_next_one_is_served(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    text, cut = tmp_path / "text.mp4", tmp_path / "cut.mp4"
    text.write_text("no video " * 100)
    cut.write_bytes(clips["red"].read_bytes()[:1500])
    async with running(make_settings(tmp_path / "data"), make_parts(ranker)) as router:
        await seeded(router, clips)
        slice_ = policy("arson")
        with pytest.raises(UnsupportedMedia):
            await router.client.route(text, request_for(text, slice_), soon())
        with pytest.raises(TruncatedVideo):
            await router.client.route(cut, request_for(cut, slice_), soon())
        wrong = request_for(clips["blue"], slice_)
        with pytest.raises(DigestMismatch):
            await router.client.route(clips["red"], wrong, soon())
        late = await router.http.post(
            "/v1/route",
            files={"request": (None, wrong.model_dump_json()), "video": clips["blue"].read_bytes()},
            headers={"Winnow-Deadline-Ms": "0"},
        )
        missing = await router.http.post("/v1/route", files={"video": clips["blue"].read_bytes()})
        good = await router.client.route(clips["red"], request_for(clips["red"], slice_), soon())
        metrics = (await router.http.get("/metrics")).text
        spooled = list((tmp_path / "data" / "router" / "spool").iterdir())
    assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
    assert (missing.status_code, missing.json()["code"]) == (400, "malformed_request")
    assert good.issues[0].escalated
    assert 'winnow_router_decode_failures_total{code="not_a_video"} 1.0' in metrics
    assert 'winnow_router_decode_failures_total{code="truncated_video"} 1.0' in metrics
    assert spooled == []


async def test_an_empty_bank_is_not_ready_and_filters_nothing(
    tmp_path: Path, clips: Clips, ranker: StandInRanker
) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        health = await router.client.ready(soon())
        with pytest.raises(RouterUnavailable, match="not_ready"):
            await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
        await seeded(router, clips)
        healthy = await router.client.ready(soon())
    assert health.missing == {"seed bank": "empty"}
    assert healthy.missing == {}


async def test_leftovers_in_the_spool_are_removed(tmp_path: Path, ranker: StandInRanker) -> None:
    (tmp_path / "router" / "spool").mkdir(parents=True)
    (tmp_path / "router" / "spool" / "upload-old").write_bytes(b"x")
    async with running(make_settings(tmp_path), make_parts(ranker)):
        assert list((tmp_path / "router" / "spool").iterdir()) == []


async def test_openapi_documents_the_uploads(tmp_path: Path, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        paths = (await router.http.get("/openapi.json")).json()["paths"]
    form = paths["/v1/route"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["required"]) == {"request", "video"}
    assert "router_threshold" in str(form)
    assert "$ref" not in str(form)
    assert {"200", "201", "422"} <= paths["/v1/seeds"]["post"]["responses"].keys()


async def test_an_upload_that_is_still_arriving_at_shutdown_is_refused(tmp_path: Path, ranker: StandInRanker) -> None:
    half, never = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\nhalf'
        half.set()
        await never.wait()

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    settings = make_settings(tmp_path)
    async with running(settings, make_parts(ranker)) as router:
        sending = asyncio.create_task(router.http.post("/v1/seeds", content=body(), headers=headers))
        await half.wait()
        router.app.state.admission.stopped.set()
        response = await asyncio.wait_for(sending, 5)
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert list(settings.spool_dir.iterdir()) == []


async def test_an_issue_stands_once_in_a_slice(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    request = request_for(clips["red"], policy("arson", "theft")).model_dump(mode="json")
    request["policy"]["issues"][1]["id"] = "arson"
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        files = {"request": (None, json.dumps(request)), "video": clips["red"].read_bytes()}
        response = await router.http.post("/v1/route", files=files)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_payload")
    assert "arson stands twice" in response.json()["detail"]
