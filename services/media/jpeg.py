"""Frames as JPEG files, encoded the same way in the services and in the lab."""

import io

import numpy as np
import numpy.typing as npt


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
