"""A Qdrant server that is slow: a caller that left costs at most the call that runs, and no thread beyond the few."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from router_svc.bank.qdrant import QdrantBank
from services.deadline import Deadline
from services.errors import DeadlineExceeded, NotReady
from tests.unit.router.test_bank import DIM, ENCODER, seed, unit


class SlowClient:
    """Stands for the client of a server that takes its time; the bank's own calls of it are real."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.searches = 0
        self.timeouts: list[int] = []
        self.threads: set[str] = set()

    def count(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the catalogue is current")

    def query_batch_points(self, _: str, requests: list[Any], timeout: int) -> list[Any]:
        self.searches += 1
        self.timeouts.append(timeout)
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        return [type("Answer", (), {"points": []})() for _ in requests]


def bank_of(client: SlowClient, issues: int, monkeypatch: pytest.MonkeyPatch) -> QdrantBank:
    from router_svc.bank.qdrant import _Catalogue

    bank = QdrantBank(ENCODER, DIM, url="http://127.0.0.1:9", threads=2)
    seeds = [seed(number, issue=f"issue{number}") for number in range(issues)]
    bank._catalogue = _Catalogue.of(ENCODER, {each.id: each for each in seeds})
    monkeypatch.setattr(bank, "_current", lambda _: bank._catalogue)
    bank._client = client  # type: ignore[assignment]
    return bank


async def test_a_search_whose_caller_left_ends_with_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SlowClient(0.2)
    bank = bank_of(client, 50, monkeypatch)
    issues = [f"issue{number}" for number in range(50)]
    deadline = Deadline.after(0.3)
    with pytest.raises(DeadlineExceeded):
        async with deadline.limit():
            await bank.search(unit(1), issues, 4, deadline)
    await asyncio.sleep(0.6)
    assert 1 <= client.searches <= 3
    assert set(client.timeouts) == {1}


async def test_many_who_left_hold_two_threads_and_wait_for_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SlowClient(0.2)
    bank = bank_of(client, 50, monkeypatch)
    issues = [f"issue{number}" for number in range(50)]

    async def leave() -> None:
        deadline = Deadline.after(0.05)
        with pytest.raises(DeadlineExceeded):
            async with deadline.limit():
                await bank.search(unit(1), issues, 4, deadline)

    await asyncio.gather(*(leave() for _ in range(40)))
    found = await bank.search(np.zeros((1, DIM), np.float32), ["issue1"], 4, Deadline.after(20))
    assert found.issues["issue1"].positives == ()
    assert len(client.threads) <= 2
    assert client.searches <= 3


async def test_an_error_of_the_server_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SlowClient(0.0)
    monkeypatch.setattr(client, "query_batch_points", lambda *_, **__: 1 / 0)
    with pytest.raises(NotReady):
        await bank_of(client, 1, monkeypatch).search(unit(1), ["issue0"], 4, Deadline.after(5))
