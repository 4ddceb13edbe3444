"""Decodes chosen frames of a video file. Imports PyAV through `reader`; it runs in worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from services.contracts import MediaFacts
from services.errors import InvalidPayload, TruncatedVideo, UndecodableVideo, UnsupportedMedia
from services.media.limits import MediaLimits
from services.media.reader import VideoReader, open_video
from services.media.sampling import SamplingPlan, sample_times
from services.media.strategy import Strategy, choose_strategy, snap

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

RgbFrame = npt.NDArray[np.uint8]

MAX_ASPECT = 4
"""A frame's longer side is at most so many times `short_side`: no banner may outgrow what the models accept."""


@dataclass(frozen=True, slots=True)
class DecodedVideo:
    """Frames of a video: `frames[i]`, [height, width, 3] uint8 RGB, is displayed at `times_s[i]` seconds."""

    facts: MediaFacts
    times_s: tuple[float, ...]
    frames: list[RgbFrame]
    strategy: Strategy


def probe(path: Path, limits: MediaLimits | None = None) -> MediaFacts:
    """Facts about a video; decodes its first frame. Errors as `decode_frames`."""
    return decode_frames(path, times=(0.0,), short_side=16, limits=limits).facts


def decode_frames(
    source: Path | BinaryIO,
    *,
    plan: SamplingPlan | None = None,
    times: Sequence[float] | None = None,
    short_side: int | None = None,
    limits: MediaLimits | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> DecodedVideo:
    """Decodes a few frames of a video, in memory that does not grow with its length.

    Args:
        source: the file, or one that is open and can seek: then no file is opened.
        plan: how many frames are taken, and from when on the decoder jumps.
        times: wanted times in seconds, increasing, in place of the plan's.
        short_side: frames whose shorter side has more pixels are scaled down to it, and further where the longer side
            would exceed MAX_ASPECT times as many; aspect is kept. None: never.
        limits: what is refused.
        start_s: start of the segment that the plan samples, seconds.
        end_s: its end, seconds; None means the end of the video.

    Returns:
        Each distinct frame once, in order of time, turned as the container says, with its own presentation time.

    Raises:
        UnsupportedMedia, NoVideoStream, TruncatedVideo, UndecodableVideo, VideoRefused: as services.errors says.
        InvalidPayload: the segment starts behind the end of the video.
    """
    plan, limits = plan or SamplingPlan(), limits or MediaLimits()
    with open_video(source, limits) as reader:
        duration = reader.duration()
        limits.check_duration(duration)
        if start_s > 0 and start_s >= duration:
            raise InvalidPayload(f"The segment starts at {start_s:g} s; the video ends at {duration:.3f} s.")
        targets = times if times is not None else sample_times(duration, plan=plan, start_s=start_s, end_s=end_s)
        strategy, targets, key_times = _aim(reader, plan, targets, duration, start_s, end_s)
        jump = strategy != "whole" or start_s > 0
        found, rotation = _collect(reader, targets, key_times, short_side, jump=jump)
        whole = times is None and start_s <= 0 and end_s is None
        if whole and _sparse(reader, len(found), len(targets)):
            # The frames are not spread over the length: a last one that is held, or a forgery that hides the others.
            by_rank = reader.times_by_rank(len(targets))
            found, rotation = _collect(reader, by_rank, key_times, short_side, jump=jump)
        _check_found(reader, len(found), len(targets), whole=whole)
        facts = _facts(reader, duration, rotation)
    return DecodedVideo(facts, tuple(time for time, _ in found), [frame for _, frame in found], strategy)


def _collect(
    reader: VideoReader, targets: Sequence[float], key_times: Sequence[float], short_side: int | None, *, jump: bool
) -> tuple[list[tuple[float, RgbFrame]], int]:
    """The frames nearest the targets with their times, and the rotation of the last."""
    found: list[tuple[float, RgbFrame]] = []
    rotation = 0
    for time, frame in reader.nearest(targets, key_times, jump=jump):
        rotation = frame.rotation
        found.append((time, _to_rgb(frame, short_side)))
    return found, rotation


def _sparse(reader: VideoReader, found: int, wanted: int) -> bool:
    """Whether a video of many frames gave few. A video of few frames gives them all."""
    return found * 2 < min(wanted, reader.decoded)


def _aim(
    reader: VideoReader,
    plan: SamplingPlan,
    targets: Sequence[float],
    duration: float,
    start_s: float,
    end_s: float | None,
) -> tuple[Strategy, Sequence[float], Sequence[float]]:
    """The strategy, the times it aims at, and the times of the key frames as far as they are needed."""
    context = reader.stream.codec_context
    pixels, count = context.width * context.height, reader.frame_count(duration)
    key_times = reader.key_times() if count * pixels > plan.whole_pixels else []
    inside = [time for time in key_times if start_s <= time < (duration if end_s is None else end_s)]
    strategy = choose_strategy(targets, frames=count, pixels=pixels, whole_pixels=plan.whole_pixels, key_times=inside)
    return strategy, snap(targets, inside) if strategy == "key_frames" else targets, key_times


def _check_found(reader: VideoReader, found: int, wanted: int, *, whole: bool) -> None:
    """Judges what was decoded; `whole`: the wanted times span the whole video."""
    if not found:
        raise UndecodableVideo("Not one frame of the video can be decoded.")
    if reader.container.format.name == "gif" and reader.decoded == 1 and reader.ended:
        raise UnsupportedMedia("The file is a still image.")
    stated = reader.stated_s()
    if reader.outline.kind == "other" and stated > 0:  # the other kinds state their size in bytes
        missing = stated - reader.last_packet_s
        if missing > max(2.0, stated / 5):
            raise TruncatedVideo(f"The container states {stated:.1f} s; the last {missing:.1f} s are missing.")
    if reader.damaged and found * 2 < wanted:
        raise UndecodableVideo("Most of the video cannot be decoded.")
    if whole and _sparse(reader, found, wanted):
        raise UndecodableVideo("Most of the video's length holds no frames.")


def _facts(reader: VideoReader, duration: float, rotation: int) -> MediaFacts:
    context = reader.stream.codec_context
    size = (context.height, context.width) if rotation % 180 else (context.width, context.height)
    return MediaFacts(
        duration_s=duration,
        width=size[0],
        height=size[1],
        fps=reader.fps,
        video_codec=context.codec.canonical_name,
        container=reader.container.format.name,
        has_audio=bool(reader.container.streams.audio),
        size_bytes=reader.size,
    )


def _to_rgb(frame: "VideoFrame", short_side: int | None) -> RgbFrame:
    scale = 1.0
    if short_side:
        longest = short_side * MAX_ASPECT
        scale = min(1.0, short_side / min(frame.width, frame.height), longest / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    picture = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA", threads=1)
    turned = np.rot90(picture.to_ndarray(), round(frame.rotation / 90) % 4)
    return np.ascontiguousarray(turned, dtype=np.uint8)
