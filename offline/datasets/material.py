"""Questions (D1) and captions (D2) about videos: those that a manifest brings along, or the demo world's."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from offline.datasets.classification import own_look_alike
from offline.datasets.lines import DESCRIBE
from offline.manifest import Labelled, ManifestError
from offline.subsets import in_turn
from services.policy import Policy

QUESTIONS_A_VIDEO = 4
"""Of D1 about a video of the demo world, where nobody asks for more."""


@dataclass(frozen=True)
class Said:
    """A prompt and an answer about a video."""

    row: Labelled
    prompt: str
    answer: str


class Material(Protocol):
    """What D1 and D2 are made of."""

    def questions(self, rows: Sequence[Labelled], wanted: int | None) -> list[Said]:
        """D1: different questions, those about every video in turn; `wanted`: how many will be taken, if known."""

    def captions(self, rows: Sequence[Labelled]) -> list[Said]:
        """D2: at most one for a video."""

    def near(self, row: Labelled) -> Sequence[str]:
        """Issues that a video does not violate and could be taken for, most alike first."""


class OwnMaterial:
    """The manifest's fields `questions`, `caption` and `look_alike_of`."""

    def questions(self, rows: Sequence[Labelled], wanted: int | None) -> list[Said]:
        """See Material."""
        return in_turn([_distinct(Said(row, q.question, q.answer) for q in row.questions) for row in rows])

    def captions(self, rows: Sequence[Labelled]) -> list[Said]:
        """See Material."""
        return [Said(row, DESCRIBE, row.caption.strip()) for row in rows if row.caption.strip()]

    def near(self, row: Labelled) -> Sequence[str]:
        """See Material."""
        return own_look_alike(row)


class WorldMaterial:
    """Drawn from what the shots of the demo world show, as the bundled ranker is taught.

    Args:
        policy: whose issues are asked about.
        rows: whose shots must tell their objects.
        seed: of the questions.

    Raises:
        ManifestError: a row has no shots, or violates something that its shots do not show.
    """

    def __init__(self, policy: Policy, rows: Sequence[Labelled], *, seed: int = 0) -> None:
        from offline.demo_world.taxonomy import violated
        from offline.training.questions import Teacher

        self._teacher, self._seed = Teacher(policy), seed
        problems = [
            f"{row.id}: its shots show {list(violated(_shots(row)))}, its labels say {list(row.issues)}"
            for row in rows
            if not row.shots or set(violated(_shots(row))) != row.truth
        ]
        if problems:
            raise ManifestError(["this is no manifest of the demo world:", *problems])

    def questions(self, rows: Sequence[Labelled], wanted: int | None) -> list[Said]:
        """See Material."""
        each = QUESTIONS_A_VIDEO if wanted is None else 4 + 2 * -(-wanted // max(1, len(rows)))
        return in_turn([_distinct(self._lessons(row, d1=each)) for row in rows])

    def captions(self, rows: Sequence[Labelled]) -> list[Said]:
        """See Material."""
        return [said for row in rows for said in self._lessons(row, d2=1)]

    def near(self, row: Labelled) -> Sequence[str]:
        """The issue that it was made to resemble, then those of which it shows a part."""
        from offline.demo_world.taxonomy import ISSUES, ROLE_OF

        roles = {ROLE_OF[name] for names in _shots(row) for name in names if name in ROLE_OF}
        shown = [issue.id for issue in ISSUES if roles & {*issue.a, *issue.b}]
        own = own_look_alike(row)
        return [*own, *(issue for issue in shown if issue not in row.truth and issue not in own)]

    def _lessons(self, row: Labelled, *, d1: int = 0, d2: int = 0) -> Iterator[Said]:
        from offline.training.videos import TrainingVideo

        video = TrainingVideo(tuple(shot.objects for shot in row.shots), row.issues, row.title)
        rng = np.random.default_rng([self._seed, d1, *row.id.encode()])
        for lesson in self._teacher.lessons(video, rng, d1=d1, d2=d2, d3=0):
            yield Said(row, lesson.text, lesson.answer)


def _shots(row: Labelled) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(shot.objects) for shot in row.shots)


def _distinct(said: Iterable[Said]) -> list[Said]:
    return list({each.prompt: each for each in said}.values())
