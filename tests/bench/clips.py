"""Videos for benchmarks: made once, kept in build/, the same every time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

FOLDER = Path("build/bench-media")
FPS = 30
_RATE = Fraction(1, FPS)
_PICTURES = 60

_FAST: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast", "sc_threshold": "0", "crf": "30"},
    "libx265": {"preset": "ultrafast", "x265-params": "scenecut=0:log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"},
    "libsvtav1": {"preset": "12"},
    "mpeg4": {"sc_threshold": "1000000000"},
    "mjpeg": {},
}
SUFFIX = {"libvpx-vp9": ".webm", "mjpeg": ".mov"}


@dataclass(frozen=True)
class Recipe:
    """A video at 30 frames a second; `gop` is the distance of key frames in frames, 0 where only the first is one."""

    codec: str = "libx264"
    seconds: float = 5.0
    gop: int = 30
    width: int = 1280
    height: int = 720
    seed: int = 0

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)

    @property
    def path(self) -> Path:
        name = f"{self.codec}-{self.width}x{self.height}-{self.seconds:g}s-gop{self.gop}-{self.seed}"
        return FOLDER / (name + SUFFIX.get(self.codec, ".mp4"))


def make(recipe: Recipe) -> Path:
    """The video of a recipe, made where it is not there yet."""
    path = recipe.path.absolute()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"unfinished-{os.getpid()}-{path.name}")
        _encode(recipe, unfinished)
        unfinished.rename(path)
    return path


def short_video(seed: int) -> Path:
    """What people upload: 15 s of 720p H.264 with a key frame every 2 s."""
    return make(Recipe(seconds=15.0, gop=60, seed=seed))


def _encode(recipe: Recipe, path: Path) -> None:
    """Encodes every frame, or, where key frames recur, one stretch of them whose packets are then repeated."""
    stretch = recipe.frames if recipe.gop == 0 else min(recipe.frames, -(-240 // recipe.gop) * recipe.gop)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(recipe.codec, rate=FPS)
        stream.width, stream.height = recipe.width, recipe.height
        stream.pix_fmt = "yuvj420p" if recipe.codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = recipe.gop or recipe.frames + 1
        stream.codec_context.max_b_frames = 0
        stream.options = _FAST[recipe.codec]
        packets = []
        for index, frame in enumerate(_frames(recipe, stretch, stream.pix_fmt)):
            frame.pts, frame.time_base = index, _RATE
            packets += stream.encode(frame)
        packets += stream.encode(None)
        data = [(bytes(packet), packet.is_keyframe, packet.pts, packet.time_base) for packet in packets]
        for copy in range(-(-recipe.frames // stretch)):
            for raw, key, pts, base in data:
                index = round(pts * base / _RATE) + copy * stretch
                if index < recipe.frames:
                    packet = av.Packet(raw)
                    packet.pts = packet.dts = index
                    packet.time_base, packet.stream, packet.is_keyframe = _RATE, stream, key
                    container.mux(packet)


def _frames(recipe: Recipe, count: int, pix_fmt: str) -> Iterator[av.VideoFrame]:
    """Blobs that drift over a textured ground: motion and detail enough that inter coding has work to do."""
    random = np.random.default_rng(recipe.seed)
    ground = random.integers(0, 256, (recipe.height // 8, recipe.width // 8, 3)).repeat(8, 0).repeat(8, 1)
    ground = (ground // 3 + 60).astype(np.uint8)
    drawn = [
        av.VideoFrame.from_ndarray(_picture(ground, index), format="rgb24").reformat(format=pix_fmt).to_ndarray()
        for index in range(min(_PICTURES, count))
    ]
    for index in range(count):
        turn = index % (2 * len(drawn))  # forth and back, so that nothing jumps
        yield av.VideoFrame.from_ndarray(drawn[min(turn, 2 * len(drawn) - 1 - turn)], format=pix_fmt)


def _picture(ground: npt.NDArray[np.uint8], index: int) -> npt.NDArray[np.uint8]:
    height, width = ground.shape[:2]
    picture = np.roll(ground, 3 * index, axis=1)
    for blob in range(6):
        x, y = (97 * blob + 9 * index) % (width - 120), (61 * blob + 5 * index) % (height - 120)
        picture[y : y + 120, x : x + 120] = (40 * blob, 255 - 40 * blob, (80 + 30 * blob) % 256)
    return picture
