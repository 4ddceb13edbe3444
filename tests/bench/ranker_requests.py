"""What benchmarks ask the ranker: numbered requests, each with frames of its own, the same on every side."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ranker_svc.engines.protocol import FrameImage
from services.contracts import IssueQuestions
from services.contracts.base import PromptName
from services.media import encode_jpeg
from services.policy import default_policy_path, load_policy
from services.prompts import plan

FRAMES = 4
_CELLS = 20


@dataclass(frozen=True)
class Asked:
    """What every request of a run asks: one prompt template about so many issues, frames of `side` x `side` pixels."""

    prompt: PromptName = "P2"
    issues: int = 1
    side: int = 160

    def json(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "issues": self.issues, "side": self.side}

    def questions(self) -> tuple[IssueQuestions, ...]:
        return issues_of(self.prompt)[: self.issues]

    def prompts(self) -> tuple[str, ...]:
        return plan(self.questions()).prompts


def issues_of(prompt: PromptName, calibrated: bool = False) -> tuple[IssueQuestions, ...]:
    """All issues of the bundled policy, asked with one template and without the uploader's text."""
    found = []
    for issue in load_policy(default_policy_path()).slice().issues:
        fields = issue.model_dump(include=set(IssueQuestions.model_fields))
        own = {"prompt": prompt, "context": "ignored", "calibrator": issue.calibrator if calibrated else None}
        found.append(IssueQuestions(**{**fields, **own}))
    return tuple(found)


def jpegs(number: int, side: int) -> list[bytes]:
    """The frames of one request: coarse random pictures, so that nothing that is kept of a frame helps another one."""
    random = np.random.default_rng([number, side])
    cells = random.integers(0, 256, (FRAMES, _CELLS, _CELLS, 3), dtype=np.uint8)
    scale = -(-side // _CELLS)
    return [encode_jpeg(each.repeat(scale, 0).repeat(scale, 1)[:side, :side]) for each in cells]


def images(frames: Sequence[bytes]) -> list[FrameImage]:
    """Frames as an engine takes them, one a second."""
    return [
        FrameImage(jpeg, Image.open(io.BytesIO(jpeg)).convert("RGB"), float(index)) for index, jpeg in enumerate(frames)
    ]


def body(frames: Sequence[bytes], issues: Sequence[IssueQuestions]) -> bytes:
    """The JSON of one request."""
    return json.dumps(
        {
            "frames": [
                {"time_s": float(index), "jpeg": base64.b64encode(jpeg).decode()} for index, jpeg in enumerate(frames)
            ],
            "issues": [issue.model_dump(mode="json") for issue in issues],
        }
    ).encode()
