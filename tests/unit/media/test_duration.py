"""The length of a video is measured: what its container states about it may be patched either way."""

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from services.errors import TruncatedVideo, VideoRefused
from services.media import SamplingPlan, sample_times
from services.media.decode import DecodedVideo, decode_frames
from tests.media_factory import counting, index_of, render

JUMPING = SamplingPlan(whole_pixels=0)
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
CODECS = {"webm": "libvpx-vp9", "avi": "mpeg4", "asf": "msmpeg4"}


def make(path: Path) -> Path:
    """Thirty seconds; the level of a frame tells its third of a second."""
    options = FRAGMENTED if path.name.startswith("frag") else {}
    codec = CODECS.get(path.suffix[1:], "libx264")
    return render(path, lambda i: counting(i * 3 // 8), frames=240, codec=codec, container_options=options)


def state(path: Path, seconds: float) -> Path:
    """Patches the duration that the file states."""
    data = bytearray(path.read_bytes())
    if path.suffix in (".mkv", ".webm"):
        at = data.index(b"\x44\x89\x88") + 3  # Duration, a double
        data[at : at + 8] = struct.pack(">d", seconds * 1000)
    elif path.suffix == ".flv":
        at = data.index(b"\x00\x08duration\x00") + 11
        data[at : at + 8] = struct.pack(">d", seconds)
    else:
        at = data.index(b"mdhd") + 16  # version 0: flags, two times, then the time scale and the duration
        scale = int.from_bytes(data[at : at + 4], "big")
        data[at + 4 : at + 8] = int(scale * seconds).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    return path


def spans_thirty_seconds(video: DecodedVideo) -> None:
    assert video.facts.duration_s == pytest.approx(30.0, abs=0.3)
    assert video.times_s == pytest.approx(sample_times(30.0), abs=0.8)
    assert [index_of(frame) / 3 for frame in video.frames] == pytest.approx(video.times_s, abs=0.8)


@pytest.mark.parametrize("plan", [SamplingPlan(), JUMPING])
@pytest.mark.parametrize("name", ["a.mp4", "frag.mp4", "a.mov", "a.mkv", "a.webm", "a.flv", "a.avi", "a.ts", "a.asf"])
def test_an_honest_file_of_every_kind(tmp_path: Path, name: str, plan: SamplingPlan) -> None:
    spans_thirty_seconds(decode_frames(make(tmp_path / name), plan=plan))


@pytest.mark.parametrize("plan", [SamplingPlan(), JUMPING])
@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("a.mp4", 0.5),
        ("frag.mp4", 0.5),
        ("frag.mp4", 10_000.0),
        ("a.mkv", 0.5),
        ("a.mkv", 14_000.0),
        ("a.webm", 0.5),
        ("a.webm", 14_000.0),
        ("a.flv", 0.5),
    ],
)
def test_a_stated_duration_is_not_believed(tmp_path: Path, name: str, stated: float, plan: SamplingPlan) -> None:
    spans_thirty_seconds(decode_frames(state(make(tmp_path / name), stated), plan=plan))


def test_a_flv_that_states_more_than_it_holds_is_truncated(tmp_path: Path) -> None:
    with pytest.raises(TruncatedVideo):  # nothing tells it from one whose end is missing
        decode_frames(state(make(tmp_path / "a.flv"), 10_000.0))


@pytest.mark.parametrize("plan", [SamplingPlan(), JUMPING])
def test_a_truncated_flv(tmp_path: Path, plan: SamplingPlan) -> None:
    path = make(tmp_path / "a.flv")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.raises(TruncatedVideo):
        decode_frames(path, plan=plan)


@pytest.mark.parametrize("plan", [SamplingPlan(), JUMPING])
@pytest.mark.parametrize("name", ["a.mp4", "frag.mp4", "a.mkv", "a.flv"])
def test_a_last_frame_far_away_hides_nothing(tmp_path: Path, name: str, plan: SamplingPlan) -> None:
    options = FRAGMENTED if name.startswith("frag") else {}
    times = [*(index / 8 for index in range(80)), 4000.0]
    path = render(tmp_path / name, frames=81, times_s=times, container_options=options)
    video = decode_frames(path, plan=plan)  # 4,000 s: the plan wants 32 frames
    inside = [time for time in video.times_s if time <= 10.0]
    assert len(inside) >= 16
    assert inside[0] < 1.0
    assert inside[-1] > 9.0


@pytest.mark.parametrize("name", ["two.mp4", "two.mkv"])
def test_two_video_streams_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        streams: list[Any] = [container.add_stream("libx264", rate=8) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            for index in range(8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(counting(index), format="rgb24")))
            container.mux(stream.encode(None))
    with pytest.raises(VideoRefused, match="2 video streams"):
        decode_frames(path)


@pytest.mark.parametrize("name", ["a.mp4", "frag.mp4", "a.mkv", "a.flv", "a.ts"])
def test_sound_longer_than_the_picture(tmp_path: Path, name: str) -> None:
    source = render(tmp_path / "source.mp4", frames=80, audio=True)
    path = tmp_path / name
    options = FRAGMENTED if name.startswith("frag") else {}
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as container:
        inputs = [given.streams.video[0], given.streams.audio[0]]
        outputs = {stream.index: container.add_stream_from_template(stream) for stream in inputs}
        for packet in given.demux(inputs):
            if packet.dts is None or (packet.stream.type == "video" and packet.pts * packet.time_base >= 5):
                continue
            packet.stream = outputs[packet.stream.index]
            container.mux(packet)
    video = decode_frames(path)
    assert video.facts.duration_s == pytest.approx(5.0, abs=0.3)
    assert video.times_s == pytest.approx(sample_times(5.0), abs=0.2)


def test_a_held_last_frame_does_not_hide_the_moving_part(tmp_path: Path) -> None:
    path = tmp_path / "held.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for number in range(21):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 12, np.uint8), format="rgb24")
            picture.pts = number if number < 20 else 200  # one second moves, then nothing for nine
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    video = decode_frames(path)
    assert len(video.frames) == 8
    assert sum(time <= 1.0 for time in video.times_s) >= 7
