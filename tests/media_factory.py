"""Renders small videos for tests with PyAV: codec, container, key frames, frame times, rotation and audio to order."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 40), (30, 40, 220), (128, 128, 128)


def flat(colour: tuple[int, int, int], width: int = 64, height: int = 48) -> Picture:
    """One frame of one colour, [height, width, 3]."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def counting(index: int, width: int = 64, height: int = 48) -> Picture:
    """A grey frame whose level tells its index: level = 16 + 2 * index, up to index 110."""
    return np.full((height, width, 3), 16 + 2 * index, dtype=np.uint8)


def index_of(frame: Picture) -> int:
    """The index that `counting` put into a frame; exact to about one after lossy coding."""
    return round((float(frame.mean()) - 16) / 2)


def render(
    path: Path,
    draw: Callable[[int], Picture] = counting,
    *,
    frames: int = 40,
    fps: int = 8,
    codec: str = "libx264",
    gop: int = 12,
    times_s: Sequence[float] | None = None,
    rotation: int = 0,
    audio: bool = False,
    pix_fmt: str = "yuv420p",
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes a video; the container follows from the suffix. `times_s` gives the frames their own times (VFR)."""
    import av

    first = draw(0)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "sc_threshold": "0", "crf": "12"}
        if rotation:
            stream.set_display_rotation(rotation)
        sound: Any = container.add_stream("aac", rate=16_000) if audio else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(index), format="rgb24").reformat(format=pix_fmt)
            frame.pts = round(1000 * (times_s[index] if times_s else index / fps))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _add_sound(container, sound, frames / fps)
    return path


def render_audio(path: Path, seconds: float = 1.0) -> Path:
    """Writes a file that has sound and nothing else."""
    import av

    with av.open(str(path), "w") as container:
        _add_sound(container, container.add_stream("aac", rate=16_000), seconds)
    return path


def _add_sound(container: Any, sound: Any, seconds: float) -> None:
    import av

    for start in range(0, int(16_000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, start
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
