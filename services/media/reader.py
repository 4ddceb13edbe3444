"""An open video file: what its container says, and its frames from a position on. The only module that imports av."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from services.errors import NoVideoStream, TruncatedVideo, UndecodableVideo, UnsupportedMedia, WinnowError
from services.media.limits import MediaLimits
from services.media.outline import Outline, read_outline
from services.media.strategy import must_seek

# Containers of videos, and of sound so that a song is told apart from rubbish. No playlist, image or device is in.
_FORMATS = "mov,matroska,avi,flv,mpegts,mpeg,ogg,gif,asf,mp3,wav,flac,aac"
_GUESSED_FPS = 30.0
_IO_BUFFER = 1 << 18  # bytes

TimedFrame = tuple[float, VideoFrame]


@contextmanager
def open_video(path: Path, limits: MediaLimits) -> Iterator["VideoReader"]:
    """Opens a file, with nothing decoded yet.

    Raises:
        UnsupportedMedia, NoVideoStream, TruncatedVideo, UndecodableVideo, VideoRefused: as services.errors says.
    """
    size = path.stat().st_size
    limits.check_size(size)
    outline = read_outline(path)
    if outline.image:
        raise UnsupportedMedia("The file is a still image.")
    with path.open("rb") as file:
        try:
            container = _open(file, limits)
        except (av.FFmpegError, ValueError) as error:
            raise _open_error(outline) from error
        with container:
            stream = _video_stream(container)
            context = stream.codec_context
            limits.check_pixels(context.width, context.height)
            context.thread_count = 1  # a worker process is one core's work
            context.options = {"max_pixels": str(limits.max_pixels)}
            reader = VideoReader(container, stream, outline, size, limits)
            reader.check_cut()
            yield reader


def _open(file: BinaryIO, limits: MediaLimits) -> InputContainer:
    return av.open(
        file,
        "r",
        buffer_size=_IO_BUFFER,
        metadata_errors="replace",
        options={
            "format_whitelist": _FORMATS,
            "protocol_whitelist": "none",  # nothing that the file refers to is ever opened
            "max_pixels": str(limits.max_pixels),
        },
    )


def _open_error(outline: Outline) -> WinnowError:
    if outline.kind == "isobmff" and (outline.cut or not outline.has_index):
        return TruncatedVideo("The file ends before its index (moov).")
    if outline.kind == "matroska" and outline.cut:
        return TruncatedVideo("The file ends before its first frames.")
    if outline.kind in ("isobmff", "matroska"):
        return UndecodableVideo("The container cannot be read.")
    return UnsupportedMedia("The file is not a video in a supported container.")


def _video_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & (Disposition.attached_pic | Disposition.still_image):
            return stream
    if not container.streams:
        raise UndecodableVideo("The container lists no streams.")
    raise NoVideoStream("The file has no video stream.")


@dataclass(slots=True)
class VideoReader:
    """An open video, and what was seen while reading it.

    Attributes:
        decoded: frames decoded so far.
        damaged: packets and seeks that failed so far.
        ended: the end of the file was reached.
        last_packet_s: end of the last packet of any stream that was read, seconds.
    """

    container: InputContainer
    stream: VideoStream
    outline: Outline
    size: int
    limits: MediaLimits
    decoded: int = field(default=0, init=False)
    damaged: int = field(default=0, init=False)
    ended: bool = field(default=False, init=False)
    last_packet_s: float = field(default=0.0, init=False)

    @property
    def fps(self) -> float | None:
        """Average frames a second, where the container says it."""
        return float(self.stream.average_rate) if self.stream.average_rate else None

    def seconds(self, timestamp: int) -> float:
        """A timestamp of the video stream as seconds from its start."""
        return float((timestamp - (self.stream.start_time or 0)) * (self.stream.time_base or 0))

    def duration(self) -> tuple[float, bool]:
        """Seconds, and whether they were measured by reading all packets because the container does not say."""
        stated = 0.0
        if self.stream.duration:
            stated = float(self.stream.duration * (self.stream.time_base or 0))
        elif self.container.duration:
            stated = self.container.duration / av.time_base
        index = self.stream.index_entries
        if self.outline.kind == "isobmff" and len(index):
            stated = max(stated, self.seconds(index[len(index) - 1].timestamp))
        if stated > 0:
            return stated, False
        end = 0.0
        try:
            for packet in self.container.demux(self.stream):
                if packet.pts is not None:
                    end = max(end, self.seconds(packet.pts + (packet.duration or 0)))
        except av.FFmpegError:
            self.damaged += 1
        self.seek(0.0)
        return end, True

    def frame_count(self, duration_s: float) -> float:
        """Number of frames: what the container says, or an estimate."""
        rate = float(self.stream.average_rate or self.stream.guessed_rate or _GUESSED_FPS)
        return max(float(self.stream.frames), duration_s * rate)

    def key_times(self) -> list[float]:
        """Times of the key frames, seconds, increasing; empty where the container has no index."""
        if self.outline.kind == "matroska":
            self.seek(0.0)  # Matroska's index is read at the first seek
        return sorted(self.seconds(entry.timestamp) for entry in self.stream.index_entries if entry.is_keyframe)

    def check_cut(self) -> None:
        """Raises TruncatedVideo where the container's structure or its index points behind the end of the file."""
        cut = self.outline.cut
        entries = [stream.index_entries for stream in self.container.streams]
        if self.outline.kind == "isobmff" and any(len(index) for index in entries):
            past = any(entry.pos + entry.size > self.size for index in entries for entry in index)
            cut = past or (cut and self.outline.fragmented)
        if cut:
            raise TruncatedVideo("The file ends before the last of its frames.")

    def seek(self, time_s: float) -> None:
        """Goes to the last key frame at or before a time; where that fails, reading goes on from where it is."""
        base = self.stream.time_base
        if base:
            try:
                self.container.seek(int(time_s / base) + (self.stream.start_time or 0), stream=self.stream)
            except av.FFmpegError:
                self.damaged += 1

    def frames(self) -> Iterator[TimedFrame]:
        """Decodes on from the current position, past damaged packets. Raises VideoRefused over a limit."""
        rate = self.fps or _GUESSED_FPS
        # Where the container cannot tell that it was cut, all its streams are watched for their last packet.
        streams = [self.stream] if self.outline.kind != "other" else list(self.container.streams)
        packets = self.container.demux(streams)
        while True:
            try:
                packet = next(packets)
                if packet.pts is not None and packet.time_base:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self.last_packet_s = max(self.last_packet_s, end + self.seconds(0))
                frames = packet.decode() if packet.stream.index == self.stream.index else []
            except StopIteration:
                self.ended = True
                return
            except av.EOFError:
                continue
            except av.FFmpegError:
                self.damaged += 1
                self.limits.check_decoded(self.decoded + self.damaged)
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame):
                    self.decoded += 1
                    self.limits.check_decoded(self.decoded)
                    self.limits.check_pixels(frame.width, frame.height)
                    stamp = frame.pts if frame.pts is not None else frame.dts
                    yield (self.seconds(stamp) if stamp is not None else (self.decoded - 1) / rate), frame

    def nearest(self, targets: Sequence[float], key_times: Sequence[float], *, jump: bool) -> Iterator[TimedFrame]:
        """The frame nearest to each wanted time, each once, in order; only two frames are held at a time."""
        before: TimedFrame | None = None
        current: TimedFrame | None = None
        given = float("-inf")
        frames = self.frames()
        for target in targets:
            if jump and must_seek(current[0] if current else None, target, key_times):
                self.seek(target)
                before = current = None
                frames = self.frames()
            while current is None or current[0] < target:
                following = next(frames, None)
                if following is None:
                    break
                before, current = current, following
            around = [entry for entry in (before, current) if entry is not None]
            if around:
                chosen = min(around, key=lambda entry: abs(entry[0] - target))
                if chosen[0] > given:
                    given = chosen[0]
                    yield max(0.0, chosen[0]), chosen[1]
