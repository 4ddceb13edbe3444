"""How else a scene can be drawn and encoded: size, shape, codec, frame times, rotation, bars, sound, title."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from offline.demo_world.scene import FPS, WORLD_SIZE, Scene

_H264 = (("preset", "medium"), ("x264-params", "cpu-independent=1"))
"""Without cpu-independent, x264's macroblock tree gives other bytes from run to run (record 0028)."""
TIME_BASE = 1000
"""Ticks a second of a variant with its own frame times."""


@dataclass(frozen=True)
class Variant:
    """A deterministic way to draw and encode a scene.

    Attributes:
        name: as in the manifest.
        about: what it is, for people.
        size: width and height in pixels, even, of the drawing; places stretch with it, drawings do not.
        bars: black pixels added (at each side, above and below), even.
        suffix: of the file, which names the container.
        codec: of PyAV's.
        options: of the codec.
        uneven: whether frames have their own distances in time (variable frame rate).
        turned: whether frames are stored turned by 90, 180 or 270 degrees, and the container says so.
        sound: whether there is an audio track.
        title: the scene's own, none, or one that names everything in it.
    """

    name: str
    about: str
    size: tuple[int, int] = (WORLD_SIZE, WORLD_SIZE)
    bars: tuple[int, int] = (0, 0)
    suffix: str = ".mp4"
    codec: str = "libx264"
    options: tuple[tuple[str, str], ...] = (("crf", "27"), *_H264)
    uneven: bool = False
    turned: bool = False
    sound: bool = False
    title: Literal["own", "none", "everything"] = "own"

    def rotation(self, scene: Scene) -> int:
        """Degrees counter-clockwise by which a player turns what is stored: 0, or by the scene 90, 180 or 270."""
        return (1 + zlib.crc32(scene.id.encode()) % 3) * 90 if self.turned else 0

    def title_of(self, scene: Scene) -> str:
        """The title that the uploader gives."""
        if self.title == "everything":
            things = sorted(set().union(*(shot.names for shot in scene.shots)))
            return "everything: " + ", ".join(name.replace("_", " ").replace("-", " ") for name in things)
        return scene.title if self.title == "own" else ""

    def times(self, scene: Scene) -> list[float]:
        """When frames are shown, seconds, increasing from 0; even at FPS, or 0.04 to 0.25 s apart."""
        if not self.uneven:
            return [number / FPS for number in range(round(scene.duration_s * FPS))]
        rng = np.random.default_rng(zlib.crc32(scene.id.encode()))
        times, following = [0.0], 0.0
        while (following := round(following + float(rng.uniform(0.04, 0.25)), 3)) < scene.duration_s - 0.04:
            times.append(following)
        return times


PLAIN = Variant("plain", "as the splits: 160 x 160, 8 frames a second, H.264 in MP4")

_ALL = (
    PLAIN,
    Variant("small", "96 x 96", size=(96, 96)),
    Variant("large", "480 x 480", size=(480, 480)),
    Variant("wide", "16:9, 320 x 180", size=(320, 180)),
    Variant("tall", "9:16, 180 x 320", size=(180, 320)),
    Variant("letterbox", "black bars above and below", bars=(0, 40)),
    Variant("pillarbox", "black bars at the sides", bars=(62, 0)),
    Variant("vp9", "WebM with VP9", suffix=".webm", codec="libvpx-vp9",
            options=(("crf", "36"), ("b", "0"), ("deadline", "good"), ("cpu-used", "4"))),
    Variant("hevc", "MP4 with HEVC", codec="libx265",
            options=(("crf", "28"), ("preset", "fast"), ("x265-params", "log-level=none:pools=none:frame-threads=1"))),
    Variant("vfr", "variable frame rate, 4 to 25 frames a second", uneven=True),
    Variant("rotated", "stored turned, with rotation metadata", turned=True),
    Variant("compressed", "H.264 at CRF 42", options=(("crf", "42"), *_H264)),
    Variant("sound", "with an audio track, AAC", sound=True),
    Variant("untitled", "no title", title="none"),
    Variant("titled", "a title that names everything in the video", title="everything"),
)  # fmt: skip
VARIANTS: Mapping[str, Variant] = MappingProxyType({variant.name: variant for variant in _ALL})
