"""The ranker on vLLM inside what its image gives it: one volume to write to, no capabilities, no compiler."""

import base64
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.contracts import RankResult
from tests.packaging.dockerfile import stages
from tests.packaging.image import Image, confinement
from tests.servers import free_port
from tests.vllm.conftest import Frames

START_S = 240


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path: that of a socket below it has to fit into 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="image-") as directory:
        yield Path(directory)


def image_of_this_environment(root: Path) -> Image:
    """The ranker's image with the environment of these tests in the place of its own."""
    for each in ("data", "tmp", "opt"):
        (root / each).mkdir()
    (root / "opt/winnow").symlink_to(sys.prefix)
    return Image("ranker", root, stages("ranker")[-1])


def test_it_starts_and_answers_and_writes_to_its_volume_alone(root: Path, noise: Frames) -> None:
    image, port, log = image_of_this_environment(root), str(free_port()), root / "log"
    settings = {"WINNOW_RANKER_ENGINE": "vllm", "WINNOW_RANKER_HOST": "127.0.0.1", "WINNOW_RANKER_PORT": port}
    frames = [{"time_s": each.time_s, "jpeg": base64.b64encode(each.jpeg).decode()} for each in noise(2)]
    issue = {"id": "arson", "name": "arson", "definition": "Fire is set to things."}
    # A compiler of this machine would hide that one is needed.
    with image.container(log, **settings, OMP_NUM_THREADS="1", CC="absent", CXX="absent") as process:
        until = time.monotonic() + START_S
        while image.run(image.final.healthcheck, **settings).returncode != 0:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < until, log.read_text(encoding="utf-8")
            time.sleep(1.0)
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/rank",
            json={"frames": frames, "issues": [issue]},
            headers={"Winnow-Deadline-Ms": "60000"},
            timeout=70,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        assert RankResult.model_validate_json(answer.content).model.engine == "vllm"
        if confinement():
            mounts = Path(f"/proc/{process.pid}/mountinfo").read_text(encoding="utf-8").splitlines()
            options = {line.split()[4]: line.split()[5].split(",") for line in mounts}
            assert "ro" in options["/"]
            assert "rw" in options[str(image.data)]
        process.terminate()
        assert process.wait(40) in (0, -signal.SIGTERM), log.read_text(encoding="utf-8")
