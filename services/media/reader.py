"""An open video file: what its container says, and its frames from a position on. The only module that imports av."""

import importlib
import os
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from services.errors import (
    NoVideoStream,
    TruncatedVideo,
    UndecodableVideo,
    UnsupportedMedia,
    VideoRefused,
    WinnowError,
)
from services.media.limits import MediaLimits
from services.media.outline import Outline, read_outline
from services.media.strategy import must_seek

# Containers of videos, and of sound so that a song is told apart from rubbish. No playlist, image or device is in.
_FORMATS = "mov,matroska,avi,flv,mpegts,mpeg,ogg,gif,asf,mp3,wav,flac,aac"
_GUESSED_FPS = 30.0
_IO_BUFFER = 1 << 18  # bytes
_PACKETS_PER_FRAME = 50  # reading a packet costs a small part of decoding it
_FAR = 1 << 40  # a timestamp behind every end; in Matroska's milliseconds its nanoseconds still fit 64 bits
_AGREE_S = 0.5  # the last packets and the container may differ so far about the end, or by a twentieth

TimedFrame = tuple[float, VideoFrame]


def preload() -> None:
    """Imports all of PyAV: parts that it imports at their first use come too late in a process that opens no file."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)


@contextmanager
def open_video(source: Path | BinaryIO, limits: MediaLimits) -> Iterator["VideoReader"]:
    """Opens a video, with nothing decoded yet; a file that was open before stays open.

    Raises:
        UnsupportedMedia, NoVideoStream, TruncatedVideo, UndecodableVideo, VideoRefused: as services.errors says.
    """
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        size = file.seek(0, os.SEEK_END)
        limits.check_size(size)
        outline = read_outline(file, size)
        if outline.image:
            raise UnsupportedMedia("The file is a still image.")
        file.seek(0)
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
    pictures = Disposition.attached_pic | Disposition.still_image
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if len(streams) > 1:  # which one a player shows is the player's choice
        raise VideoRefused(f"The file has {len(streams)} video streams; only files with one are accepted.")
    if streams:
        return streams[0]
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
        indexed: the container had an index when it was opened.
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
    indexed: bool = field(init=False)

    def __post_init__(self) -> None:
        self.indexed = len(self.stream.index_entries) > 0

    @property
    def fps(self) -> float | None:
        """Average frames a second, where the container says it."""
        return float(self.stream.average_rate) if self.stream.average_rate else None

    def seconds(self, timestamp: int) -> float:
        """A timestamp of the video stream as seconds from its start."""
        return float((timestamp - (self.stream.start_time or 0)) * (self.stream.time_base or 0))

    def stated_s(self) -> float:
        """Seconds that the container states; 0 where it does not. Eight bytes that anyone can patch."""
        if self.stream.duration:
            return float(self.stream.duration * (self.stream.time_base or 0))
        return self.container.duration / av.time_base if self.container.duration else 0.0

    def duration(self) -> float:
        """Seconds up to the end of the video stream: from a full index, or measured, never merely believed."""
        stated, index = self.stated_s(), self.stream.index_entries
        if self.outline.kind == "isobmff" and len(index) and not self.outline.fragmented:
            stated = max(stated, self.seconds(index[len(index) - 1].timestamp))
            if stated > 0:
                return stated
        end = 0.0
        if stated > 0:
            try:
                self.container.seek(_FAR, stream=self.stream, backward=True)
                end = self._read_to_end()
            except av.FFmpegError:
                end = 0.0
        if end <= 0 or abs(end - stated) > max(_AGREE_S, stated / 20):
            self.seek(0.0)  # the container is wrong, or the seek was: every packet tells
            try:
                end = max(end, self._read_to_end())
            except av.FFmpegError:
                self.damaged += 1
        self.seek(0.0)
        return end

    def _read_to_end(self) -> float:
        """Reads the packets from here on; the end of the video's last one, seconds. Stops over the longest duration."""
        end = 0.0
        for packet in self.container.demux(self._watched()):
            self._note(packet)
            if packet.stream.index == self.stream.index and packet.pts is not None:
                end = max(end, self.seconds(packet.pts + (packet.duration or 0)))
                if end > self.limits.max_duration_s:
                    break
        return end

    def times_by_rank(self, count: int) -> list[float]:
        """Times of `count` frames spread evenly over the frames there are, seconds, increasing; reads every packet."""
        self.seek(0.0)
        times: list[float] = []
        try:
            for packet in self.container.demux(self.stream):
                if packet.pts is not None:
                    times.append(self.seconds(packet.pts))
                    self.limits.check_decoded(len(times) // _PACKETS_PER_FRAME)
        except av.FFmpegError:
            self.damaged += 1
        self.seek(0.0)
        times.sort()
        return list(dict.fromkeys(times[int((i + 0.5) * len(times) / count)] for i in range(count))) if times else []

    def _watched(self) -> list[Stream]:
        """Where the container cannot tell that it was cut, all its streams are watched for their last packet."""
        return [self.stream] if self.outline.kind != "other" else list(self.container.streams)

    def _note(self, packet: "Packet[Stream]") -> None:
        if packet.pts is not None and packet.time_base:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self.last_packet_s = max(self.last_packet_s, end + self.seconds(0))

    def frame_count(self, duration_s: float) -> float:
        """Number of frames: what the container says, or an estimate."""
        rate = float(self.stream.average_rate or self.stream.guessed_rate or _GUESSED_FPS)
        return max(float(self.stream.frames), duration_s * rate)

    def key_times(self) -> list[float]:
        """Times of the key frames, seconds, increasing; empty where the container has no index."""
        if self.outline.kind == "matroska":
            self.seek(0.0)  # Matroska's index is read at the first seek
        if self.outline.kind == "other" and not self.indexed:
            return []  # what reading has gathered by now is no index: MPEG-TS holds a few places in it
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
        packets = self.container.demux(self._watched())
        while True:
            try:
                packet = next(packets)
                self._note(packet)
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
