"""Frames: hostile files are errors that name the frame."""

import io

import pytest
from PIL import Image

from ranker_svc.frames import decode_frames
from services.contracts import Frame
from services.errors import InvalidPayload


def picture(kind: str = "JPEG", size: tuple[int, int] = (32, 24), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 200).save(buffer, kind)
    return buffer.getvalue()


def frame(data: bytes, time_s: float = 0.0) -> Frame:
    # model_construct: the field is base64 on the wire and bytes here.
    return Frame.model_construct(time_s=time_s, jpeg=data)


def bomb() -> bytes:
    """A small file that claims to be 65,500 x 65,500."""
    data = bytearray(picture())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (65_500).to_bytes(2, "big") * 2
    return bytes(data)


def test_frames_become_rgb() -> None:
    decoded = decode_frames([frame(picture()), frame(picture(mode="L"))], max_frames=2, max_pixels=10_000)
    assert [(f.image.mode, f.image.size) for f in decoded] == [("RGB", (32, 24))] * 2
    assert decoded[0].jpeg == picture()


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8\xff", b"not an image", picture("PNG"), picture()[:200], picture()[:-40], bomb(), b"\xff" * 4096],
)
def test_a_bad_frame_is_named(data: bytes) -> None:
    with pytest.raises(InvalidPayload) as caught:
        decode_frames([frame(picture()), frame(data)], max_frames=8, max_pixels=10_000)
    assert caught.value.errors[0].pointer == "body/frames/1/jpeg"


def test_pixels_and_frames_are_limited() -> None:
    with pytest.raises(InvalidPayload, match="32 x 24 pixels; at most 767"):
        decode_frames([frame(picture())], max_frames=1, max_pixels=767)
    with pytest.raises(InvalidPayload, match="2 frames; at most 1"):
        decode_frames([frame(picture())] * 2, max_frames=1, max_pixels=10_000)
