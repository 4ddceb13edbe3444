"""What a running router says of itself, and that its results say the same."""

from pathlib import Path

import httpx
from fastapi import FastAPI
from starlette.responses import Response

from services.contracts import ModelIdentity, SeedRequest
from tests.integration.router.conftest import (
    StandInRanker,
    make_parts,
    make_settings,
    policy,
    request_for,
    running,
    soon,
)
from tests.media_factory import BLUE, flat, render

IDENTITY = ModelIdentity(name="stand-in", fingerprint="0", engine="reference", configuration="c")


def ranker_that_says(identity: ModelIdentity | None) -> httpx.ASGITransport:
    app = FastAPI()

    @app.get("/v1/model")
    async def model() -> Response:
        if identity is None:
            return Response(status_code=503)
        return Response(identity.model_dump_json(), media_type="application/json")

    return httpx.ASGITransport(app)


async def test_the_state_is_that_of_the_results(tmp_path: Path, ranker: StandInRanker) -> None:
    video = render(tmp_path / "v.mp4", lambda _: flat(BLUE), frames=20)
    parts = make_parts(ranker, ranker_transport=ranker_that_says(IDENTITY))
    async with running(make_settings(tmp_path), parts) as router:
        before = await router.client.state(soon())
        await router.client.add_seed(video, SeedRequest(issue="arson", kind="golden"), soon())
        after = await router.client.state(soon())
        result = await router.client.route(video, request_for(video, policy("smoking")), soon())
    assert before.bank_revision != after.bank_revision
    assert (result.encoder, result.bank_revision, result.configuration) == (
        after.encoder,
        after.bank_revision,
        after.configuration,
    )
    assert after.ranker == IDENTITY


async def test_a_ranker_that_says_nothing_or_is_none_is_null(tmp_path: Path, ranker: StandInRanker) -> None:
    parts = make_parts(ranker, ranker_transport=ranker_that_says(None))
    async with running(make_settings(tmp_path), parts) as router:
        assert (await router.client.state(soon())).ranker is None
    async with running(make_settings(tmp_path, ranker_urls=()), parts) as router:
        assert (await router.client.state(soon())).ranker is None
