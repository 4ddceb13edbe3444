"""Frames as JPEG files: encoded the same way in the services and in the lab, and read where they may be hostile."""

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from services.contracts import FieldProblem
from services.errors import InvalidPayload

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 4096 * 4096
"""Most pixels of a frame, where the caller names no other limit."""

_MAX_SCANS = 64
"""Most scans of one picture: encoders write about ten; each costs a pass over all pixels, however few its bytes."""


def encode_jpeg(frame: npt.NDArray[np.uint8], quality: int = 90) -> bytes:
    """A JPEG file (4:2:0) of an RGB frame.

    Args:
        frame: [height, width, 3] uint8.
        quality: libjpeg's quality, 1 to 95.
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def decode_jpeg(data: bytes, *, max_pixels: int = MAX_PIXELS, pointer: str = "body") -> npt.NDArray[np.uint8]:
    """The pixels of a JPEG file, [height, width, 3] uint8, RGB; arguments and errors as in `open_jpeg`."""
    return np.asarray(open_jpeg(data, max_pixels=max_pixels, pointer=pointer))


def open_jpeg(data: bytes, *, max_pixels: int = MAX_PIXELS, pointer: str = "body") -> "Image.Image":
    """The picture in a JPEG file, decoded, RGB. Orientation in EXIF is not obeyed. Blocks: run it off the event loop.

    Args:
        data: the file.
        max_pixels: most pixels, checked before it is decoded.
        pointer: what the errors call the file, e.g. `body/frames/1`.

    Raises:
        InvalidPayload: no JPEG, or one that is broken or too large.
    """
    from PIL import Image

    if data.count(b"\xff\xda") > _MAX_SCANS:
        raise _refused(pointer, f"more than {_MAX_SCANS} scans")
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.width * image.height > max_pixels:
                raise _refused(pointer, f"{image.width} x {image.height} pixels; at most {max_pixels} in all")
            return image.convert("RGB")
    except InvalidPayload:
        raise
    # Pillow's plugins raise almost anything on hostile bytes.
    except Exception as error:
        raise _refused(pointer, "not a readable JPEG") from error


def _refused(pointer: str, detail: str) -> InvalidPayload:
    return InvalidPayload(f"{pointer}: {detail}.", errors=[FieldProblem(pointer=pointer, detail=detail)])
