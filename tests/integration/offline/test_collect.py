"""Labelled videos through a gateway's API; the gateway is a stand-in that speaks HTTP and judges by the title."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from rich.console import Console
from starlette.datastructures import UploadFile

from offline.demo_world.splits import MIX, Counts
from offline.evaluation.asking import TooManyMissing
from offline.evaluation.collect import collect
from offline.evaluation.short import measure
from offline.manifest import Labelled
from services.contracts import ModerationRequest
from services.errors import TruncatedVideo
from tests.unit.offline.decisions import decision, issue, labelled
from tests.web import serving_in_thread


@dataclass
class StandInGateway:
    """Decides by the title: a number is the probability of arson; `degraded` and `refuse` are what they say.

    `otherwise` is the probability under any other title; None filters the video.
    """

    url: str = ""
    otherwise: float | None = None
    asked: list[ModerationRequest] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    running: int = 0
    busiest: int = 0

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/decisions")
        async def decide(request: Request) -> Response:
            self.running += 1
            self.busiest = max(self.busiest, self.running)
            async with request.form() as form:
                body, video = form["request"], form["video"]
                assert isinstance(video, UploadFile)
                text = body if isinstance(body, str) else (await body.read()).decode()
                self.sizes.append(len(await video.read()))
            asked = ModerationRequest.model_validate_json(text)
            self.asked.append(asked)
            await asyncio.sleep(0.05)
            self.running -= 1
            title = asked.context.title
            if title == "refuse":
                problem = TruncatedVideo("The file ends early.").problem("r")
                return Response(problem.model_dump_json(), problem.status, media_type="application/problem+json")
            probability = float(title) if title.replace(".", "").isdigit() else self.otherwise
            made = decision(issue("arson", risk=0.9 if probability is not None else 0.1, probability=probability))
            if title == "degraded":
                made = made.model_copy(update={"route": "degraded", "rank_missing": "unavailable"})
            return Response(made.model_dump_json(), media_type="application/json")

        return app


@pytest.fixture
def gateway() -> Iterator[StandInGateway]:
    stand_in = StandInGateway()
    with serving_in_thread(stand_in.app()) as url:
        stand_in.url = url
        yield stand_in


def videos(folder: Path, rows: list[tuple[str, str]]) -> list[Labelled]:
    made = []
    for number, (kind, title) in enumerate(rows):
        path = folder / f"{number}.mp4"
        path.write_bytes(b"v" * (100 + number))
        made.append(labelled(path, kind, {"arson"} if kind == "violation" else (), title))
    return made


async def test_every_video_is_asked_about_and_weighed(
    gateway: StandInGateway, tmp_path: Path, console: Console
) -> None:
    rows: list[tuple[str, str]] = [("violation", "0.9"), ("violation", "0.2"), ("look_alike", "0.6")]
    rows += [("other", "")] * 4
    found = await collect(gateway.url, videos(tmp_path, rows), console, mix=MIX, concurrency=2)
    assert [o.kind for o in found] == [kind for kind, _ in rows]
    assert [o.decision.issues[0].probability for o in found] == [0.9, 0.2, 0.6, None, None, None, None]
    assert [o.truth for o in found] == [{"arson"}] * 2 + [frozenset()] * 5
    assert [o.weight for o in found] == pytest.approx([0.005, 0.005, 0.19, 0.2, 0.2, 0.2, 0.2])
    assert sum(o.weight for o in found) == pytest.approx(1)
    assert sorted(gateway.sizes) == list(range(100, 107)), "every file arrives whole"
    assert {asked.mode for asked in gateway.asked} == {"cascade"}
    assert gateway.busiest == 2


async def test_the_mode_is_passed_on(gateway: StandInGateway, tmp_path: Path, console: Console) -> None:
    await collect(gateway.url, videos(tmp_path, [("other", "")]), console, mode="full")
    assert [asked.mode for asked in gateway.asked] == ["full"]


@pytest.mark.parametrize(
    ("title", "said"),
    [("degraded", r"without the ranker \(unavailable\)"), ("refuse", "have no decision .* ends early")],
)
async def test_a_measurement_with_holes_is_refused(
    gateway: StandInGateway, tmp_path: Path, console: Console, title: str, said: str
) -> None:
    with pytest.raises(TooManyMissing, match=said):
        await collect(gateway.url, videos(tmp_path, [("other", ""), ("violation", title)]), console)


def test_measure_generates_asks_and_writes_the_report(
    gateway: StandInGateway, art_folder: Path, tmp_path: Path, console: Console
) -> None:
    (tmp_path / "art").symlink_to(art_folder)
    out = tmp_path / "build" / "measure.json"
    gateway.otherwise = 0.6
    counts = Counts(violation=1, look_alike=1, other=1)
    report = measure(gateway.url, work=tmp_path, split="test", counts=counts, out=out, console=console)
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["split"] == "test"
    assert written["videos"] == {"violation": 1, "look_alike": 1, "other": 1}
    assert written["pass_rate"]["value"] == report.pass_rate.value == 1.0
    assert written["ranker_auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}, "all scores are equal"
    assert written["recall"].keys() == {"2.5%", "5.0%", "10.0%"}
    assert len(gateway.asked) == 3
