"""What the router does with every video of a split: its risks, and the frames that it would send. Resumable."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from offline.manifest import Labelled
from services.contracts import PolicySlice
from services.encoder import Encoder
from services.media import SamplingPlan
from services.media.decode import RgbFrame, decode_frames
from services.scoring import Background, Match, Risk, asked_issues, choose_frames, evidence_frames, risk_of

MATCHES_PER_FRAME, MATCHES_KEPT = 8, 5  # the router's defaults
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Router:
    """The router without its service: the same functions on the same numbers.

    Attributes:
        seeds: [n, dim] unit vectors of each issue.
        frames: most frames that are sent.
        short_side: of decoded frames, pixels.
        vectors_per_seed: rows of `seeds` that belong to one seed.
    """

    encoder: Encoder
    seeds: Mapping[str, Vectors]
    background: Background
    policy: PolicySlice
    frames: int
    short_side: int
    vectors_per_seed: int

    def decode(self, video: Path) -> list[RgbFrame]:
        """The sampled frames of a video, [height, width, 3] uint8 each."""
        return decode_frames(video, plan=SamplingPlan(), short_side=self.short_side).frames

    def route(self, vectors: Vectors) -> "Routing":
        """Route a video by the embeddings [frames, dim] of its sampled frames."""
        risks = {issue: self._risk(vectors, issue) for issue in (each.id for each in self.policy.issues)}
        escalated = [each.id for each in self.policy.issues if risks[each.id].value >= each.router_threshold]
        escalated.sort(key=lambda issue: -risks[issue].value)
        chosen = choose_frames(len(vectors), evidence_frames(risks, escalated), self.frames) if escalated else ()
        asked = tuple(issue.id for issue in asked_issues(self.policy.issues, escalated))
        return Routing({issue: risk.value for issue, risk in risks.items()}, asked, chosen)

    def _risk(self, vectors: Vectors, issue: str) -> Risk:
        seeds = self.seeds.get(issue)
        matches: list[Match] = []
        if seeds is not None:
            cosines = np.clip(vectors @ seeds.T, -1.0, 1.0)
            best = np.argsort(-cosines, axis=1, kind="stable")[:, :MATCHES_PER_FRAME]
            matches = [
                Match(frame, f"{issue}-{column // self.vectors_per_seed}", "golden", float(cosines[frame, column]))
                for frame in range(len(vectors))
                for column in best[frame].tolist()
            ]
        return risk_of(matches, (), self.background, negative_weight=0.0, negative_margin=1.0, max_matches=MATCHES_KEPT)


@dataclass(frozen=True)
class Routing:
    """Risks of a video, in [0, 1]; the issues that the ranker is asked about, and the frames that it is sent.

    Both are empty for a video that is not escalated.
    """

    risks: Mapping[str, float]
    asked: tuple[str, ...]
    frames: tuple[int, ...]


def route_split(router: Router, videos: Sequence[Labelled], journal: Path, console: Console) -> list[Routing]:
    """The routing of every video, in order; what stands in the journal already is not done again.

    Raises:
        ValueError: the journal is of other videos.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    done = _read(journal, [video.id for video in videos])
    with journal.open("a", encoding="utf-8") as lines:
        for video in track(videos[len(done) :], description="routing", console=console):
            found = router.route(router.encoder.embed_images(router.decode(video.file)))
            row = {"id": video.id, "risks": dict(found.risks), "asked": found.asked, "frames": found.frames}
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            done.append(found)
    return done


def _read(journal: Path, ids: Sequence[str]) -> list[Routing]:
    """The routings of a journal; a last line that was cut off is dropped from the file."""
    if not journal.exists():
        return []
    text = journal.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        journal.write_text(whole, encoding="utf-8")
    rows = [json.loads(line) for line in whole.splitlines()]
    if [row["id"] for row in rows] != list(ids[: len(rows)]):
        raise ValueError(f"{journal} is of other videos; delete it")
    return [Routing(row["risks"], tuple(row["asked"]), tuple(row["frames"])) for row in rows]
