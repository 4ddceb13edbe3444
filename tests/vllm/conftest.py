"""What the tests on real vLLM share: one engine on the bundled model for the whole session, frames, vLLM's counters."""

import gc
import io
import os
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client.registry import Collector

from ranker_svc.engines.protocol import FrameImage
from ranker_svc.engines.vllm.engine import VllmEngine
from ranker_svc.engines.vllm.metrics import SchedulerWatch
from ranker_svc.settings import Settings
from services.contracts import Frame
from services.media import SamplingPlan, encode_jpeg
from services.media.decode import decode_frames
from tests.bench.parity import Said, ask, frames_of, ranker_with

HERE = Path(__file__).parent
CORES = os.sched_getaffinity(0)
CLIPS = HERE.parents[1] / "winnow" / "bundled" / "clips"

# What vLLM's import draws: from its own modules, and from those of torch that it alone imports.
VLLM_WARNINGS = (
    "ignore::DeprecationWarning:vllm",
    "ignore::FutureWarning:vllm",
    "ignore::DeprecationWarning:torch",
    "ignore::FutureWarning:torch",
    "ignore:builtin type .* has no __module__ attribute:DeprecationWarning",
)

Frames = Callable[..., list[FrameImage]]
Counters = Callable[[], "Reading"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for warning in VLLM_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


class Reading:
    """vLLM's metrics at one moment."""

    def __init__(self, collector: Collector) -> None:
        self._samples = [sample for metric in collector.collect() for sample in metric.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """Sum of the samples of this name that carry these labels."""
        found = [each.value for each in self._samples if each.name == name and labels.items() <= each.labels.items()]
        assert found, f"vLLM has no metric {name} {labels}"
        return sum(found)


class EncoderRuns(SchedulerWatch):
    """Counts the frames that vLLM's scheduler has sent through the vision encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def saw(self, engine: int, stats: Any) -> None:
        super().saw(engine, stats)
        if stats.iteration_details is not None:
            self.count += stats.iteration_details.num_encoder_inputs


@pytest.fixture(autouse=True)
def _all_cores() -> None:
    # An engine in this process keeps the process off its cores; what a test starts is not to inherit that.
    os.sched_setaffinity(0, CORES)


@pytest.fixture(scope="session")
def encoder_runs() -> EncoderRuns:
    return EncoderRuns()


@pytest.fixture(scope="session")
async def engine(encoder_runs: EncoderRuns) -> AsyncIterator[VllmEngine]:
    """The bundled model on vLLM, which counts encoder runs where it is asked for the details of its steps."""
    settings = Settings(engine="vllm", engine_args={"enable_logging_iteration_details": True})
    engine = VllmEngine(settings, watch=encoder_runs)
    await engine.start()
    yield engine
    await closed(engine)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for temporary files of this process and of those that it starts; pytest's paths are too long."""
    with tempfile.TemporaryDirectory(prefix="t") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        monkeypatch.setenv("TMPDIR", directory)
        yield Path(directory)


async def closed(engine: VllmEngine) -> None:
    """Close an engine in a test. vLLM leaves its ZeroMQ context to the garbage collector, which complains."""
    await engine.close()
    collect_contexts()


def collect_contexts() -> None:
    """Collect what vLLM leaves, without the complaint."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unclosed context", ResourceWarning)
        gc.collect()


def pytest_sessionfinish() -> None:
    # The last test's tracebacks may hold an engine until that test is put away.
    collect_contexts()


@pytest.fixture
def counters(engine: VllmEngine) -> Counters:
    return lambda: Reading(engine.collector)


@pytest.fixture(scope="session")
def clips() -> list[tuple[Frame, ...]]:
    """The frames of each bundled clip."""
    found = [frames_of(video) for video in sorted(CLIPS.glob("*.mp4"))]
    assert len(found) == 16
    return found


@pytest.fixture(scope="session")
async def judged_by_reference(clips: list[tuple[Frame, ...]]) -> Said:
    """What the reference engine says of the bundled clips."""
    async with ranker_with(Settings(engine="reference")) as ranker:
        return await ask(ranker, clips)


@pytest.fixture(scope="session")
def noise() -> Frames:
    """Frames that no other call gives: `count` of them, each of `side` x `side` noise."""
    made = 0

    def make(count: int = 4, side: int = 128) -> list[FrameImage]:
        nonlocal made
        rng = np.random.default_rng(made := made + 1)
        return [_frame(rng.integers(0, 255, (side, side, 3), dtype=np.uint8), float(i)) for i in range(count)]

    return make


@pytest.fixture(scope="session")
def clip_frames() -> Frames:
    """Frames of a bundled clip, as the router sends them: `clip_frames("test-violation-00000", 8)`."""

    def decode(name: str, count: int = 8) -> list[FrameImage]:
        plan = SamplingPlan(min_frames=count, max_frames=count)
        video = decode_frames(CLIPS / f"{name}.mp4", plan=plan, short_side=128)
        return [_frame(frame, time_s) for frame, time_s in zip(video.frames, video.times_s, strict=True)]

    return decode


def _frame(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", time_s: float) -> FrameImage:
    jpeg = encode_jpeg(pixels)
    return FrameImage(jpeg, Image.open(io.BytesIO(jpeg)).convert("RGB"), time_s)
