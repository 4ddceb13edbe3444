"""The model that a ranker names is the one that its answers name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from services.contracts import ModelIdentity, RankResult
from tests.integration.ranker.test_service import run


def test_answers_carry_the_identity(tmp_path: Path, rank_body: Callable[..., dict[str, Any]]) -> None:
    async def ask(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        return await client.get("/v1/model"), await client.post("/v1/rank", json=rank_body())

    model, ranked = run(tmp_path, ask)
    identity = ModelIdentity.model_validate_json(model.content)
    assert identity.configuration
    assert RankResult.model_validate_json(ranked.content).model == identity
