"""What the router and a decoder process say to one another over their socket; the router believes nothing blindly.

A job is JSON with the descriptor of the open video. A reply is JSON and, behind it, the pixels of all frames: nothing
that a decoder sends is unpickled, since a file may have taken it over.
"""

import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from services.contracts import MediaFacts
from services.media.decode import MAX_ASPECT, DecodedVideo, RgbFrame
from services.media.limits import MediaLimits
from services.media.sampling import SamplingPlan
from services.media.strategy import Strategy

_JOB_BYTES = 64 * 1024
_REPLY_BYTES = 256 * 1024  # a reply's JSON: times and sizes of at most a few hundred frames
_HEAD = struct.Struct("!I")
_REPLY_HEAD = struct.Struct("!IQ")


class BrokenReply(Exception):
    """A decoder sent something that is no reply."""


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """One video to decode; see services.media.decode.decode_frames.

    Attributes:
        path: the video; the router opens it.
        cpu_s: CPU seconds that it may take.
    """

    path: Path
    plan: SamplingPlan
    short_side: int
    limits: MediaLimits
    cpu_s: float
    start_s: float = 0.0
    end_s: float | None = None


class Greeting(BaseModel):
    """What a decoder says once it is confined.

    Attributes:
        unconfined: why the kernel does not filter its system calls; None where it does.
        broken: why it cannot decode; None where it can.
    """

    model_config = ConfigDict(frozen=True)

    unconfined: str | None = None
    broken: str | None = None


class Failure(BaseModel):
    """Why a video was not decoded.

    Attributes:
        code: of the error, as services.errors has it.
        detail: for the caller.
        cause: the exception where it is a fault of the decoder, for the log.
    """

    model_config = ConfigDict(frozen=True)

    code: str = Field(max_length=64)
    detail: str = Field(max_length=500)
    cause: str | None = Field(default=None, max_length=500)


class _Decoded(BaseModel):
    """All of a DecodedVideo but its pixels."""

    model_config = ConfigDict(frozen=True)

    facts: MediaFacts
    strategy: Strategy
    times_s: tuple[float, ...]
    sizes: tuple[tuple[int, int], ...]


class _Reply(BaseModel):
    """A reply's JSON: one of the two."""

    model_config = ConfigDict(frozen=True)

    decoded: _Decoded | None = None
    failure: Failure | None = None


def warm_wire() -> None:
    """Builds what reading the first job would build: a confined process cannot import any more."""
    _jobs()


def send_greeting(channel: socket.socket, greeting: Greeting) -> None:
    """The first that a decoder says."""
    body = greeting.model_dump_json().encode()
    channel.sendall(_HEAD.pack(len(body)) + body)


def receive_greeting(channel: socket.socket) -> Greeting:
    """The first that a decoder says. Raises EOFError where it is gone, OSError where it is silent."""
    (length,) = _HEAD.unpack(_exactly(channel, _HEAD.size))
    return Greeting.model_validate_json(_exactly(channel, min(length, _JOB_BYTES)))


def send_job(channel: socket.socket, job: DecodeJob, file: int) -> None:
    """Hands a job and the descriptor of its open file to a decoder. Raises OSError where it is gone."""
    body = _jobs().dump_json(job)
    socket.send_fds(channel, [_HEAD.pack(len(body)) + body], [file])


def receive_job(channel: socket.socket) -> tuple[DecodeJob, int] | None:
    """The next job and its descriptor, which is the caller's to close; None where the router has left."""
    data, files, _, _ = socket.recv_fds(channel, _JOB_BYTES, 1)
    if not data:
        return None
    (length,) = _HEAD.unpack(data[: _HEAD.size])
    data = data[_HEAD.size :]
    while len(data) < length:
        data += channel.recv(length - len(data))
    return _jobs().validate_json(data), files[0]


def send_reply(channel: socket.socket, answer: DecodedVideo | Failure) -> None:
    """Answers a job."""
    if isinstance(answer, Failure):
        reply, frames = _Reply(failure=answer), []
    else:
        frames = answer.frames
        sizes = tuple((frame.shape[0], frame.shape[1]) for frame in frames)
        reply = _Reply(
            decoded=_Decoded(facts=answer.facts, strategy=answer.strategy, times_s=answer.times_s, sizes=sizes)
        )
    body = reply.model_dump_json().encode()
    channel.sendall(_REPLY_HEAD.pack(len(body), sum(frame.nbytes for frame in frames)) + body)
    for frame in frames:
        channel.sendall(frame.data.cast("B"))


def receive_reply(channel: socket.socket, job: DecodeJob) -> DecodedVideo | Failure:
    """A decoder's answer; its frames share one buffer.

    Args:
        channel: blocks.
        job: what was asked: it bounds the number of frames and their size.

    Raises:
        EOFError: the decoder is gone.
        BrokenReply: what it sent is no reply to the job.
    """
    length, pixels = _REPLY_HEAD.unpack(_exactly(channel, _REPLY_HEAD.size))
    if length > _REPLY_BYTES:
        raise BrokenReply(f"a reply of {length} bytes")
    body = _exactly(channel, length)
    try:
        reply = _Reply.model_validate_json(body)
    except ValueError as error:
        raise BrokenReply("the reply is not what it should be") from error
    if reply.failure is not None:
        return reply.failure
    if reply.decoded is None:
        raise BrokenReply("the reply is empty")
    decoded = reply.decoded
    count = len(decoded.sizes)
    if not 1 <= count <= job.plan.max_frames or count != len(decoded.times_s):
        raise BrokenReply("the reply's number of frames does not fit")
    fits = all(1 <= min(size) <= job.short_side and max(size) <= job.short_side * MAX_ASPECT for size in decoded.sizes)
    if not fits or sum(height * width * 3 for height, width in decoded.sizes) != pixels:
        raise BrokenReply("the reply's sizes do not fit")
    if not all(math.isfinite(time) and time >= 0 for time in decoded.times_s):
        raise BrokenReply("the reply's times are none")
    frames = _frames(np.frombuffer(_exactly(channel, pixels), dtype=np.uint8), decoded.sizes)
    return DecodedVideo(decoded.facts, decoded.times_s, frames, decoded.strategy)


def _frames(pixels: RgbFrame, sizes: Sequence[tuple[int, int]]) -> list[RgbFrame]:
    frames: list[RgbFrame] = []
    start = 0
    for height, width in sizes:
        end = start + height * width * 3
        frames.append(pixels[start:end].reshape(height, width, 3))
        start = end
    return frames


def _exactly(channel: socket.socket, count: int) -> bytearray:
    buffer = bytearray(count)
    view, got = memoryview(buffer), 0
    while got < count:
        received = channel.recv_into(view[got:])
        if received == 0:
            raise EOFError("the other end is gone")
        got += received
    return buffer


@cache
def _jobs() -> TypeAdapter[DecodeJob]:
    return TypeAdapter(DecodeJob)
