"""Frames of a request as pixels; a hostile file is an error of the payload, never of the service."""

import io
from collections.abc import Sequence

from PIL import Image

from ranker_svc.engines.protocol import FrameImage
from services.contracts import FieldProblem, Frame
from services.errors import InvalidPayload

_MAX_SCANS = 64
"""Most scans of one picture: encoders write about ten; each costs a pass over all pixels, however few its bytes."""


def decode_frames(frames: Sequence[Frame], *, max_frames: int, max_pixels: int) -> list[FrameImage]:
    """Decode JPEG frames to RGB. Blocks: run it off the event loop.

    Args:
        frames: as they came.
        max_frames: most frames.
        max_pixels: most pixels of one frame, checked before it is decoded. Orientation in EXIF is not obeyed: the
            router sends frames upright.

    Raises:
        InvalidPayload: too many frames, or one that is no JPEG, is broken or too large; the error names the frame.
    """
    if len(frames) > max_frames:
        detail = f"{len(frames)} frames; at most {max_frames} are taken"
        raise InvalidPayload(f"frames: {detail}.", errors=[FieldProblem(pointer="body/frames", detail=detail)])
    return [
        FrameImage(frame.jpeg, _decode(frame.jpeg, index, max_pixels), frame.time_s)
        for index, frame in enumerate(frames)
    ]


def _decode(jpeg: bytes, index: int, max_pixels: int) -> Image.Image:
    if jpeg.count(b"\xff\xda") > _MAX_SCANS:
        raise _refused(index, f"more than {_MAX_SCANS} scans")
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            if image.width * image.height > max_pixels:
                raise _refused(index, f"{image.width} x {image.height} pixels; at most {max_pixels} in all")
            return image.convert("RGB")
    except InvalidPayload:
        raise
    # Pillow's plugins raise almost anything on hostile bytes.
    except Exception as error:
        raise _refused(index, "not a readable JPEG") from error


def _refused(index: int, detail: str) -> InvalidPayload:
    pointer = f"body/frames/{index}/jpeg"
    return InvalidPayload(f"{pointer}: {detail}.", errors=[FieldProblem(pointer=pointer, detail=detail)])
