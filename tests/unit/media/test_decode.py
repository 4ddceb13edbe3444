"""Decoding of real files that PyAV rendered: strategies, times, rotation, scaling, and each kind of bad file."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.errors import (
    InvalidPayload,
    NoVideoStream,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
)
from services.media import MediaLimits, SamplingPlan, sample_times
from services.media.decode import decode_frames, probe
from tests.media_factory import BLUE, GREEN, RED, counting, flat, index_of, render, render_audio

JUMPING = SamplingPlan(whole_pixels=0)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "libx264"),
        ("a.mp4", "libx265"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
    ],
)
def test_eight_frames_at_bin_midpoints(tmp_path: Path, name: str, codec: str) -> None:
    video = decode_frames(render(tmp_path / name, frames=40, fps=8, codec=codec))
    assert video.strategy == "whole"
    assert video.facts.duration_s == pytest.approx(5.0, abs=0.2)
    assert (video.facts.width, video.facts.height) == (64, 48)
    assert len(video.frames) == len(video.times_s) == 8
    for time, frame, wanted in zip(video.times_s, video.frames, sample_times(5.0), strict=True):
        assert time == pytest.approx(wanted, abs=0.13)
        assert index_of(frame) == pytest.approx(time * 8, abs=1.5)
        assert frame.shape == (48, 64, 3)
        assert frame.dtype == np.uint8


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize(("gop", "strategy"), [(4, "key_frames"), (250, "seek")])
def test_jumping_gives_the_frames_of_the_times_it_reports(tmp_path: Path, name: str, gop: int, strategy: str) -> None:
    video = decode_frames(render(tmp_path / name, frames=96, fps=8, gop=gop), plan=JUMPING)
    assert video.strategy == strategy
    assert len(video.frames) == 8
    for time, frame, wanted in zip(video.times_s, video.frames, sample_times(12.0), strict=True):
        assert time == pytest.approx(wanted, abs=0.76)
        assert index_of(frame) == pytest.approx(time * 8, abs=1.5)


def test_jumping_without_an_index(tmp_path: Path) -> None:
    video = decode_frames(render(tmp_path / "a.ts", frames=96, fps=8, gop=8), plan=JUMPING)
    assert video.strategy == "seek"
    assert [index_of(frame) for frame in video.frames] == pytest.approx([8 * t for t in video.times_s], abs=1.5)
    assert video.times_s == pytest.approx(sample_times(12.0), abs=0.3)


@pytest.mark.parametrize("plan", [SamplingPlan(), JUMPING])
def test_a_segment_alone_is_sampled(tmp_path: Path, plan: SamplingPlan) -> None:
    path = render(tmp_path / "a.mp4", frames=96, fps=8, gop=4)
    video = decode_frames(path, plan=plan, start_s=6.0, end_s=9.0)
    assert video.times_s
    assert all(6.0 <= time < 9.0 for time in video.times_s)
    assert [index_of(frame) for frame in video.frames] == pytest.approx([8 * t for t in video.times_s], abs=1.5)


def test_a_segment_behind_the_end_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidPayload):
        decode_frames(render(tmp_path / "a.mp4"), start_s=60.0)


def test_variable_frame_rate_keeps_the_real_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 3.0, 3.1, 7.0, 9.9]
    path = render(tmp_path / "a.webm", frames=7, codec="libvpx-vp9", times_s=times)
    video = decode_frames(path)
    assert {round(time, 1) for time in video.times_s} <= set(times)
    assert list(video.times_s) == sorted(set(video.times_s))
    assert len(video.times_s) >= 4


def test_gif(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    pictures = [Image.fromarray(flat(colour)) for colour in (RED, GREEN, BLUE)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000)
    video = decode_frames(path)
    assert [int(np.argmax(frame.mean(axis=(0, 1)))) for frame in video.frames] == [0, 1, 2]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    def draw(_: int) -> np.ndarray:
        frame = flat(BLUE)
        frame[:24, :32] = RED  # top left, as stored
        return frame

    video = decode_frames(render(tmp_path / "a.mp4", draw, frames=8, rotation=rotation))
    upright = (64, 48) if rotation == 180 else (48, 64)
    assert (video.facts.width, video.facts.height) == upright
    frame = video.frames[0]
    assert frame.shape[:2] == upright[::-1]
    corners = {
        (row, column): int(np.argmax(frame[5 if row == 0 else -6, 5 if column == 0 else -6]))
        for row in (0, 1)
        for column in (0, 1)
    }
    # The display matrix turns counter-clockwise.
    red = {90: (1, 0), 180: (1, 1), -90: (0, 1)}[rotation]
    assert corners == {corner: 0 if corner == red else 2 for corner in corners}


def test_scaled_down_never_up(tmp_path: Path) -> None:
    path = render(tmp_path / "a.mp4", lambda i: counting(i, 160, 90), frames=8)
    assert decode_frames(path, short_side=45).frames[0].shape == (45, 80, 3)
    assert decode_frames(path, short_side=900).frames[0].shape == (90, 160, 3)


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    assert decode_frames(render(tmp_path / "a.mp4", frames=1)).times_s == (0.0,)


def test_probe(tmp_path: Path) -> None:
    facts = probe(render(tmp_path / "a.mp4", frames=16, audio=True))
    assert facts.has_audio
    assert facts.fps == pytest.approx(8, abs=0.6)
    assert facts.video_codec == "h264"
    assert facts.size_bytes == (tmp_path / "a.mp4").stat().st_size


@pytest.mark.parametrize("name", ["a.mp4", "fast.mp4", "frag.mp4", "a.mkv", "a.webm", "a.avi"])
@pytest.mark.parametrize("share", [0.6, 0.95])
def test_truncated(tmp_path: Path, name: str, share: float) -> None:
    codec = {"a.webm": "libvpx-vp9", "a.avi": "mpeg4"}.get(name, "libx264")
    flags = {"fast.mp4": "faststart", "frag.mp4": "frag_keyframe+empty_moov"}.get(name)
    options = {"movflags": flags} if flags else {}
    path = render(tmp_path / name, codec=codec, container_options=options)
    decode_frames(path)
    with pytest.raises(TruncatedVideo):
        decode_frames(cut(path, share))


def test_fragmented_mp4_works(tmp_path: Path) -> None:
    path = render(tmp_path / "a.mp4", container_options={"movflags": "frag_keyframe+empty_moov"})
    assert len(decode_frames(path).frames) == 8


@pytest.mark.parametrize(
    "data", [b"hello, world\n" * 999, b"\x00" * 9999, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"]
)
def test_not_a_video(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(UnsupportedMedia):
        decode_frames(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "AVIF"])
def test_an_image_is_not_a_video(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(flat(RED)).save(buffer, kind)
    path = tmp_path / "a.mp4"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UnsupportedMedia):
        decode_frames(path)


def test_a_file_that_refers_to_others_is_refused(tmp_path: Path) -> None:
    render(tmp_path / "secret.mp4")
    path = tmp_path / "a.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(UnsupportedMedia):
        decode_frames(path)


def test_audio_alone(tmp_path: Path) -> None:
    with pytest.raises(NoVideoStream):
        decode_frames(render_audio(tmp_path / "a.mp4"))


def test_corrupt_frames(tmp_path: Path) -> None:
    path = render(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = np.random.default_rng(1).integers(0, 256, end - start, dtype=np.uint8).tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(UndecodableVideo):
        decode_frames(path)


def test_corrupt_index(tmp_path: Path) -> None:
    path = render(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    data[data.index(b"moov") + 4 :] = b"\xff" * (len(data) - data.index(b"moov") - 4)
    path.write_bytes(bytes(data))
    with pytest.raises(UndecodableVideo):
        decode_frames(path)


@pytest.mark.parametrize(
    "limits",
    [
        MediaLimits(max_bytes=100),
        MediaLimits(max_duration_s=4.0),
        MediaLimits(max_pixels=64 * 48 - 1),
        MediaLimits(max_decoded_frames=10),
    ],
)
def test_each_limit_refuses(tmp_path: Path, limits: MediaLimits) -> None:
    path = render(tmp_path / "a.mp4")
    with pytest.raises(VideoRefused):
        decode_frames(path, limits=limits)


def test_a_banner_is_scaled_down_to_four_times_the_short_side(tmp_path: Path) -> None:
    path = render(tmp_path / "a.mp4", lambda i: counting(i, 640, 32), frames=8)
    assert decode_frames(path, short_side=32).frames[0].shape == (6, 128, 3)
