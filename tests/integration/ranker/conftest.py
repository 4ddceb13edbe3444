"""Fixtures of the ranker's tests: one tiny checkpoint a session, frames, requests."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ranker_svc.engines.protocol import FrameImage
from tests.integration.ranker.tiny_llava import build_tiny_llava


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llava(tmp_path_factory.mktemp("tiny_llava"))


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    """Four different noisy frames of 48 x 40."""
    rng = np.random.default_rng(3)
    files = []
    for _ in range(4):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


@pytest.fixture(scope="session")
def rank_body(jpegs: list[bytes]) -> Callable[..., dict[str, Any]]:
    """Makes the JSON body of a rank request."""

    def make(names: tuple[str, ...] = ("arson", "drug_abuse"), frames: int = 2, **issue: Any) -> dict[str, Any]:
        return {
            "frames": [
                {"time_s": float(i), "jpeg": base64.b64encode(jpeg).decode()} for i, jpeg in enumerate(jpegs[:frames])
            ],
            "issues": [{"id": name, "name": name, "definition": f"What {name} is.", **issue} for name in names],
        }

    return make


@pytest.fixture
def frames(jpegs: list[bytes]) -> list[FrameImage]:
    """Two frames for engines that read the JPEG, not the decoded image."""
    return [FrameImage(jpeg, Image.new("RGB", (48, 40)), float(i)) for i, jpeg in enumerate(jpegs[:2])]
