"""The whole files that mutants are made of: one small moving video in every container and codec that matters."""

from pathlib import Path

from tests.media_factory import Picture, counting, render

_KINDS: dict[str, tuple[str, str, str]] = {
    "mp4": ("a.mp4", "libx264", "yuv420p"),
    "mp4_hevc": ("b.mp4", "libx265", "yuv420p"),
    "mp4_fragmented": ("c.mp4", "libx264", "yuv420p"),
    "mov": ("a.mov", "mpeg4", "yuv420p"),
    "webm": ("a.webm", "libvpx-vp9", "yuv420p"),
    "webm_vp8": ("b.webm", "libvpx", "yuv420p"),
    "avi": ("a.avi", "mpeg4", "yuv420p"),
    "avi_mjpeg": ("b.avi", "mjpeg", "yuvj420p"),
    "gif": ("a.gif", "gif", "rgb8"),
    "mkv": ("a.mkv", "libx264", "yuv420p"),
    "ts": ("a.ts", "libx264", "yuv420p"),
    "flv": ("a.flv", "flv", "yuv420p"),
}


def corpus(directory: Path) -> dict[str, bytes]:
    """Renders the files; their bytes by kind."""
    files = {}
    for kind, (name, codec, pixels) in _KINDS.items():
        options = {"movflags": "frag_keyframe+empty_moov"} if kind == "mp4_fragmented" else {}
        audio = kind in ("mp4", "mov")
        path = directory / name
        render(path, _moving, frames=24, gop=6, codec=codec, pix_fmt=pixels, container_options=options, audio=audio)
        files[kind] = path.read_bytes()
    return files


def _moving(index: int) -> Picture:
    picture = counting(index)
    picture[8:24, index : index + 16] = (220, 40, 30)
    return picture
