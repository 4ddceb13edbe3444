"""Seeds over HTTP: added once, kept over a restart, told by the bank's status."""

from pathlib import Path

import httpx
import pytest

from services.contracts import SeedRequest
from services.errors import InvalidPayload
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


async def post(router: Running, path: Path, body: SeedRequest) -> httpx.Response:
    files = {"request": (None, body.model_dump_json()), "video": path.read_bytes()}
    return await router.http.post("/v1/seeds", files=files)


async def test_the_same_seed_is_one_seed(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    body = SeedRequest(issue="arson", start_s=3.0, end_s=4.0, note="by hand")
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        first = await post(router, clips["late"], body)
        again = await post(router, clips["late"], body)
        other = await post(router, clips["late"], SeedRequest(issue="arson", start_s=0.0, end_s=2.0))
        status = await router.client.bank(soon())
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert first.json() == again.json()
    assert first.json()["id"] != other.json()["id"]
    assert first.json()["vectors"] == 4
    assert status.seeds == {"arson": 2}
    assert status.vectors == 8


async def test_a_seed_is_its_segment_alone(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        await post(router, clips["late"], SeedRequest(issue="arson", start_s=3.0, end_s=4.0))
        slice_ = policy("arson")
        red = await router.client.route(clips["red"], request_for(clips["red"], slice_), soon())
        blue = await router.client.route(clips["blue"], request_for(clips["blue"], slice_), soon())
    assert red.issues[0].escalated
    assert not blue.issues[0].escalated


async def test_the_bank_survives_a_restart(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    settings = make_settings(tmp_path)
    async with running(settings, make_parts(ranker)) as router:
        seed = await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        before = await router.client.bank(soon())
    async with running(settings, make_parts(ranker)) as router:
        after = await router.client.bank(soon())
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
    assert after == before
    assert result.bank_revision == before.revision
    assert result.issues[0].matches[0].seed_id == seed.id


@pytest.mark.parametrize(
    "body",
    [SeedRequest(issue="arson", kind="text"), SeedRequest(issue="arson", start_s=60.0)],
    ids=["text", "segment behind the end"],
)
async def test_impossible_seeds(tmp_path: Path, clips: Clips, ranker: StandInRanker, body: SeedRequest) -> None:
    async with running(make_settings(tmp_path), make_parts(ranker)) as router:
        with pytest.raises(InvalidPayload):
            await router.client.add_seed(clips["red"], body, soon())
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
