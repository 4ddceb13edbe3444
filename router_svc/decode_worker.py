"""What runs inside a decoder process. It imports the decoder and nothing else of the service: no torch, no web."""

import io
import signal
import socket
from collections.abc import Callable
from typing import BinaryIO

from router_svc.decode_wire import DecodeJob, Failure, receive_job, send_reply, warm_wire
from services.errors import UndecodableVideo, VideoRefused, WinnowError
from services.media.decode import DecodedVideo, decode_frames
from services.media.reader import preload

DecodeTask = Callable[[BinaryIO, DecodeJob], DecodedVideo]
"""Decodes the video in an open file; a module-level function, which the fork server imports by its name."""

# A GIF of two frames of 2 x 2 pixels.
_SAMPLE = bytes.fromhex(
    "47494638396102000200810000000000ffffff00000000000021f904000a0000002c00000000020002000008060001080410100021f904010a"
    "0001002c000000000200020081ffffff0000000000000000000806000108041010003b"
)


def warm() -> None:
    """Imports and builds what the first video would: a confined process opens no file."""
    preload()
    warm_wire()
    try_sample()


def try_sample() -> None:
    """Decodes a sample. Raises whatever keeps this process from decoding at all."""
    if len(decode_frames(io.BytesIO(_SAMPLE)).frames) != 2:
        raise UndecodableVideo("The sample lost a frame.")


def decode_task(file: BinaryIO, job: DecodeJob) -> DecodedVideo:
    """Decodes one video; errors as services.media.decode.decode_frames."""
    return decode_frames(
        file,
        plan=job.plan,
        short_side=job.short_side,
        limits=job.limits,
        start_s=job.start_s,
        end_s=job.end_s,
    )


def serve(channel: socket.socket, task: DecodeTask) -> None:
    """Answers jobs until the router leaves."""
    while (received := receive_job(channel)) is not None:
        job, descriptor = received
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            send_reply(channel, _answer(task, file, job))


def _answer(task: DecodeTask, file: BinaryIO, job: DecodeJob) -> DecodedVideo | Failure:
    signal.setitimer(signal.ITIMER_PROF, job.cpu_s)  # SIGPROF ends the process
    try:
        return task(file, job)
    except MemoryError:
        return _failure(VideoRefused("Decoding the video needs more memory than is allowed."))
    except WinnowError as error:
        return _failure(error)
    except Exception as error:
        # PyAV's errors are many, and a hostile file finds the ones that nobody expects.
        cause = f"{type(error).__name__}: {error}"[:500]
        return _failure(UndecodableVideo("The decoder failed on this video."), cause)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def _failure(error: WinnowError, cause: str | None = None) -> Failure:
    return Failure(code=error.code, detail=error.detail[:500], cause=cause)
