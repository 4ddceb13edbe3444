"""Frames as JPEG files: there and back, and files that are hostile."""

import io

import numpy as np
import pytest
from PIL import Image

from services.errors import InvalidPayload
from services.media import decode_jpeg, encode_jpeg
from tests.media_factory import RED, flat


def picture(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (32, 24), 200).save(buffer, kind)
    return buffer.getvalue()


def test_a_frame_comes_back_nearly_as_it_was() -> None:
    frame = flat(RED)
    decoded = decode_jpeg(encode_jpeg(frame))
    assert (decoded.shape, decoded.dtype) == (frame.shape, np.uint8)
    assert np.abs(decoded.astype(int) - frame).max() < 8


def test_a_grey_file_becomes_rgb() -> None:
    assert decode_jpeg(picture("JPEG", "L")).shape == (24, 32, 3)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"text", picture("PNG"), picture("JPEG")[:-60], picture("JPEG") + b"\xff\xda" * 80]
)
def test_what_is_no_whole_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidPayload) as caught:
        decode_jpeg(data, pointer="body/frames/1")
    assert caught.value.errors[0].pointer == "body/frames/1"


def test_pixels_are_limited() -> None:
    assert decode_jpeg(picture("JPEG"), max_pixels=32 * 24).size
    with pytest.raises(InvalidPayload, match="32 x 24 pixels; at most 767"):
        decode_jpeg(picture("JPEG"), max_pixels=767)
