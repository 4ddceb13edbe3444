"""CPU seconds: unit costs from windows, and what a service says of itself."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from offline.evaluation.cost import (
    CostError,
    Window,
    cost_of_cascade,
    cost_of_full,
    cost_of_router,
    read_cpu,
    read_windows,
    unit_costs,
)
from tests.web import serving


def window(filtered: int, routed: int) -> Window:
    """A filtered video takes 0.05 s of the router; a routed one 0.06 s, and 0.4 s of the ranker."""
    return Window(filtered, routed, {"router": 0.05 * filtered + 0.06 * routed, "ranker": 0.4 * routed})


WINDOWS = [window(40, 0), window(38, 2), window(4, 36), window(20, 20)]


def test_the_cost_of_both_sorts_of_videos_is_told_apart() -> None:
    found = unit_costs(WINDOWS)
    assert found["router"] == pytest.approx((0.05, 0.06))
    assert found["ranker"] == pytest.approx((0.0, 0.4), abs=1e-9)


def test_costs_are_those_of_traffic_and_not_of_the_sample() -> None:
    cascade = cost_of_cascade(WINDOWS, 0.025, rounds=50)
    assert cascade.by_service["ranker"].value == pytest.approx(10.0)
    assert cascade.total.value == pytest.approx(50 * 0.975 + 60 * 0.025 + 10)
    assert cost_of_router(WINDOWS, rounds=50).total.value == pytest.approx(50)
    full = [Window(0, 40, {"router": 3.0, "ranker": 80.0}), Window(0, 20, {"router": 1.5, "ranker": 44.0})]
    found = cost_of_full(full, rounds=200)
    assert found.by_service["ranker"].value == pytest.approx(1000 * (40 * 80 + 20 * 44) / (40**2 + 20**2))
    assert found.by_service["ranker"].low == pytest.approx(2000)
    assert found.by_service["ranker"].high == pytest.approx(2200)


def test_windows_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "cascade.cpu.jsonl"
    assert read_windows(path) == []
    path.write_text('{"filtered": 3, "routed": 1, "cpu": {"router": 0.5}}\n', encoding="utf-8")
    assert read_windows(path) == [Window(3, 1, {"router": 0.5})]
    path.write_text('{"filtered": 3, "cpu": []}\n', encoding="utf-8")
    with pytest.raises(CostError, match=r"cpu\.jsonl:1 is no window"):
        read_windows(path)


async def test_a_service_that_does_not_measure_is_named() -> None:
    app = FastAPI()
    app.add_api_route("/metrics", lambda: PlainTextResponse("process_cpu_seconds_total 3.0\n"))
    async with serving(app) as url:
        with pytest.raises(CostError, match="has no winnow_cpu_seconds_total: leave the URL away"):
            await read_cpu({"router": url})
    with pytest.raises(CostError, match="metrics of the router cannot be read"):
        await read_cpu({"router": url})
