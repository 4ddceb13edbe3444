"""The lab's router chooses what the service chooses."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from offline.manifest import Labelled
from offline.paper.routing import MATCHES_KEPT, MATCHES_PER_FRAME, Router, route_split
from router_svc.bank.exact import Rows
from router_svc.settings import Settings
from services.contracts import IssuePolicy, PolicySlice
from services.scoring import Background, Match, evidence_frames, risk_of

ISSUES = ("arson", "drug_abuse", "weapon_threat")
PER_SEED, DIM, FRAMES = 4, 6, 8
BACKGROUND = Background("e", {"golden": ((-0.5, 0.0), (0.6, 0.5), (1.0, 1.0))})


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def router() -> Router:
    rng = np.random.default_rng(5)
    policies = tuple(
        IssuePolicy(id=name, name=name, definition="d", router_threshold=0.85, ask_with=()) for name in ISSUES[:2]
    )
    last = IssuePolicy(id="weapon_threat", name="w", definition="d", router_threshold=0.85, ask_with=("arson",))
    slice_ = PolicySlice(policy_hash="0" * 12, issues=(*policies, last))
    seeds = {name: unit(rng, 12) for name in ISSUES}
    return Router(None, seeds, BACKGROUND, slice_, 4, 336, PER_SEED)  # type: ignore[arg-type]


def test_the_services_defaults() -> None:
    assert Settings().matches_per_frame == MATCHES_PER_FRAME
    assert Settings().matches_returned == MATCHES_KEPT


def test_risks_and_frames_are_the_services(router: Router) -> None:
    seen: set[int] = set()
    for turn in range(40):
        vectors = unit(np.random.default_rng([9, turn]), FRAMES)
        risks = {}
        for issue in ISSUES:
            rows = Rows.empty(DIM).joined(router.seeds[issue], tuple(f"{issue}-{i // PER_SEED}" for i in range(12)))
            matches = [
                Match(frame, seed, "golden", similarity)
                for frame, best in enumerate(rows.best(vectors, Settings().matches_per_frame))
                for seed, similarity in best
            ]
            risks[issue] = risk_of(matches, [], BACKGROUND, negative_weight=0.5, negative_margin=0.5)
        found = router.route(vectors)
        assert found.risks == pytest.approx({issue: risk.value for issue, risk in risks.items()})
        escalated = sorted((i for i in ISSUES if risks[i].value >= 0.85), key=lambda i: -risks[i].value)
        seen.add(len(escalated))
        if not escalated:
            assert (found.asked, found.frames) == ((), ())
            continue
        assert set(found.asked) == {*escalated, *(("arson",) if "weapon_threat" in escalated else ())}
        assert len(found.frames) == 4
        assert set(evidence_frames(risks, escalated)[:1]) <= set(found.frames)
    assert {0, 1, 2} <= seen, "the example has to have all sorts"


class Pictures:
    """Embeds a frame as the numbers in it."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls, self._fails_at = 0, fails_at

    def embed_images(self, frames: list[np.ndarray]) -> np.ndarray:
        if self.calls == self._fails_at:
            raise KeyboardInterrupt
        self.calls += 1
        return unit(np.random.default_rng(int(frames[0].sum())), FRAMES)


class Undecoded(Router):
    def decode(self, video: Path) -> list[np.ndarray]:
        return [np.full((2, 2, 3), len(video.name), dtype=np.uint8)]


def split(router: Router, encoder: Pictures, count: int, journal: Path) -> list[object]:
    videos = [Labelled(path="x" * i, id=f"v{i}", file=Path("x" * i)) for i in range(1, count + 1)]
    fields = {name: getattr(router, name) for name in router.__dataclass_fields__}
    own = Undecoded(**(fields | {"encoder": encoder}))
    return list(route_split(own, videos, journal, Console(file=io.StringIO())))


def test_it_goes_on_where_it_was_stopped(router: Router, tmp_path: Path) -> None:
    whole = split(router, Pictures(), 6, tmp_path / "whole.jsonl")
    journal = tmp_path / "part" / "routing.jsonl"
    with pytest.raises(KeyboardInterrupt):
        split(router, Pictures(fails_at=3), 6, journal)
    with journal.open("a") as file:
        file.write('{"id": "v4", "risks": {"ars')  # cut off
    rest = Pictures()
    assert split(router, rest, 6, journal) == whole
    assert rest.calls == 3
    assert [json.loads(line)["id"] for line in journal.read_text().splitlines()] == [f"v{i}" for i in range(1, 7)]


def test_a_journal_of_other_videos_is_refused(router: Router, tmp_path: Path) -> None:
    journal = tmp_path / "routing.jsonl"
    journal.write_text(json.dumps({"id": "another", "risks": {}, "asked": [], "frames": []}) + "\n")
    with pytest.raises(ValueError, match="other videos; delete it"):
        split(router, Pictures(), 2, journal)
