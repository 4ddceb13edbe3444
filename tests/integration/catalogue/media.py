"""Files that are no videos, or hostile ones, made to order."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.media_factory import counting, flat, render, render_audio


def still(kind: str) -> bytes:
    """A picture of one frame."""
    buffer = io.BytesIO()
    Image.fromarray(counting(3)).save(buffer, kind)
    return buffer.getvalue()


def animated_gif(frames: int = 12) -> bytes:
    """A GIF that moves."""
    buffer = io.BytesIO()
    first, *rest = [Image.fromarray(flat((20 * index, 30, 60))) for index in range(frames)]
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=100)
    return buffer.getvalue()


def zipped() -> bytes:
    """An archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("clip.mp4", b"nothing")
    return buffer.getvalue()


def song(folder: Path) -> bytes:
    """Sound alone, in a container of videos."""
    return render_audio(folder / "song.m4a").read_bytes()


def stated_size(video: bytes, width: int, height: int) -> bytes:
    """An MP4 whose sample description and track header state another size; the codec's own headers are as they were."""
    patched = bytearray(video)
    entry = video.index(b"avc1", video.index(b"stsd"))
    patched[entry + 28 : entry + 32] = struct.pack(">HH", width, height)
    header = video.index(b"tkhd")
    patched[header + 80 : header + 88] = struct.pack(">HHHH", width, 0, height, 0)
    return bytes(patched)


def raw_pictures(folder: Path, width: int, height: int) -> bytes:
    """An AVI of raw pictures, whose size nothing but the container states, and which states this one."""
    video = render(folder / "raw.avi", frames=8, codec="rawvideo", pix_fmt="bgr24").read_bytes()
    patched = video.replace(struct.pack("<ii", 64, -48), struct.pack("<ii", width, -height))
    assert patched != video
    return patched


def stated_duration(video: bytes, factor: int) -> bytes:
    """An MP4 that states to be `factor` times as long, in every header and for every sample."""
    patched = bytearray(video)
    for box, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24), (b"elst", 12)):
        at = video.index(box) + offset
        (value,) = struct.unpack_from(">I", video, at)
        struct.pack_into(">I", patched, at, min(value * factor, 2**32 - 2))
    at = video.index(b"stts")
    (entries,) = struct.unpack_from(">I", video, at + 8)
    for number in range(entries):
        (value,) = struct.unpack_from(">I", video, at + 16 + 8 * number)
        struct.pack_into(">I", patched, at + 16 + 8 * number, min(value * factor, 2**31 - 1))
    return bytes(patched)


def gif_canvas(width: int, height: int) -> bytes:
    """A GIF of a few bytes with a huge canvas and two small frames: a decompression bomb."""
    picture = bytearray(animated_gif(2))
    struct.pack_into("<HH", picture, 6, width, height)
    return bytes(picture)


def many_frames(folder: Path, frames: int) -> bytes:
    """A small file of many tiny frames."""
    return render(
        folder / "many.mp4", lambda i: flat((i % 200, 9, 9), 16, 16), frames=frames, fps=1000, gop=frames
    ).read_bytes()


def huge_frames(folder: Path, width: int, height: int) -> bytes:
    """A few flat frames of many pixels: some kilobytes that decode to gigabytes."""
    return render(folder / f"{width}x{height}.mp4", lambda _: flat((9, 9, 9), width, height), frames=2).read_bytes()


def two_streams(folder: Path) -> bytes:
    """A container with two video streams."""
    import av

    path = folder / "two.mkv"
    with av.open(str(path), "w") as container:
        streams: list[Any] = [container.add_stream("libx264", rate=8) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(8):
            frame = av.VideoFrame.from_ndarray(np.asarray(counting(index)), format="rgb24").reformat(format="yuv420p")
            frame.pts = index
            for stream in streams:
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path.read_bytes()
