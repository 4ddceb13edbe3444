"""Frames of a request as pixels; a hostile file is an error of the payload, never of the service."""

from collections.abc import Sequence

from ranker_svc.engines.protocol import FrameImage
from services.contracts import FieldProblem, Frame
from services.errors import InvalidPayload
from services.media.jpeg import open_jpeg


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
        FrameImage(
            frame.jpeg,
            open_jpeg(frame.jpeg, max_pixels=max_pixels, pointer=f"body/frames/{index}/jpeg"),
            frame.time_s,
        )
        for index, frame in enumerate(frames)
    ]
