"""Draws a scene frame by frame and writes it as a video file, in any variant."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from offline.demo_world.art import Art
from offline.demo_world.render import canvas, draw
from offline.demo_world.scene import FPS, Scene
from offline.demo_world.variants import PLAIN, TIME_BASE, Variant

_SOUND_RATE = 16_000  # Hz
_TONE = 440.0  # Hz


def frames(scene: Scene, art: Art, variant: Variant = PLAIN) -> Iterator[np.ndarray]:
    """All frames of a scene as a viewer sees them, uint8 [height, width, 3]."""
    sides, ends = variant.bars
    backdrops: dict[int, Any] = {}
    for time_s in variant.times(scene):
        shot = scene.shot_at(time_s)
        if id(shot) not in backdrops:
            backdrops = {id(shot): canvas(shot.background, *variant.size)}
        picture = draw(shot, scene.style, time_s, art, backdrop=backdrops[id(shot)])
        yield np.pad(picture, ((ends, ends), (sides, sides), (0, 0))) if sides or ends else picture


def encode(scene: Scene, art: Art, path: Path, variant: Variant = PLAIN) -> None:
    """Write a scene; the same bytes every time with the same libraries.

    Args:
        scene: what happens.
        art: with the scene's style.
        path: of the file, with the variant's suffix; it appears when it is complete.
        variant: how it is drawn and encoded.
    """
    temporary = path.with_suffix(f".part{variant.suffix}")
    options = {"movflags": "+faststart"} if variant.suffix == ".mp4" else {"fflags": "+bitexact"}
    turns = variant.rotation(scene) // 90
    width, height = (side + 2 * bar for side, bar in zip(variant.size, variant.bars, strict=True))
    with av.open(str(temporary), "w", options=options) as container:
        stream: Any = container.add_stream(
            variant.codec, rate=Fraction(FPS), options={**dict(variant.options), "threads": "1"}
        )
        stream.width, stream.height = (height, width) if turns % 2 else (width, height)
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 2 * FPS
        if variant.codec == "libx265":
            stream.codec_context.codec_tag = "hvc1"
        if variant.uneven:
            stream.codec_context.time_base = Fraction(1, TIME_BASE)
        if turns:
            stream.set_display_rotation(90 * turns)
        sound: Any = container.add_stream("aac", rate=_SOUND_RATE, layout="mono") if variant.sound else None
        for picture, time_s in zip(frames(scene, art, variant), variant.times(scene), strict=True):
            stored = np.ascontiguousarray(np.rot90(picture, -turns))
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            if variant.uneven:
                frame.pts, frame.time_base = round(time_s * TIME_BASE), Fraction(1, TIME_BASE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            _add_tone(container, sound, scene.duration_s)
    temporary.replace(path)


def _add_tone(container: Any, sound: Any, seconds: float) -> None:
    wave = np.sin(2 * np.pi * _TONE * np.arange(round(seconds * _SOUND_RATE)) / _SOUND_RATE).astype(np.float32) * 0.1
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = _SOUND_RATE, start
        container.mux(sound.encode(frame))
    container.mux(sound.encode())
