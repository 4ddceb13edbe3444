"""The limits a video must keep to be decoded at all."""

from dataclasses import dataclass

from services.errors import VideoRefused


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What is refused with VideoRefused, before or while decoding.

    Attributes:
        max_duration_s: longest video, seconds.
        max_pixels: most pixels of one frame, width times height.
        max_decoded_frames: most frames that are decoded to find the wanted ones.
        max_bytes: largest file, bytes.
    """

    max_duration_s: float = 4 * 3600.0
    max_pixels: int = 7680 * 4320
    max_decoded_frames: int = 20_000
    max_bytes: int = 4 * 1024**3

    def check_size(self, size_bytes: int) -> None:
        """Raises VideoRefused for a file of too many bytes."""
        if size_bytes > self.max_bytes:
            raise VideoRefused(f"The video has {size_bytes} bytes; the limit is {self.max_bytes}.")

    def check_duration(self, duration_s: float) -> None:
        """Raises VideoRefused for a video that is too long (seconds)."""
        if duration_s > self.max_duration_s:
            raise VideoRefused(f"The video lasts {duration_s:.0f} s; the limit is {self.max_duration_s:.0f} s.")

    def check_pixels(self, width: int, height: int) -> None:
        """Raises VideoRefused for a frame of too many pixels."""
        if width * height > self.max_pixels:
            raise VideoRefused(f"The video is {width} x {height} pixels; the limit is {self.max_pixels} in all.")

    def check_decoded(self, frames: int) -> None:
        """Raises VideoRefused when more frames were decoded than allowed."""
        if frames > self.max_decoded_frames:
            raise VideoRefused(f"More than {self.max_decoded_frames} frames would have to be decoded.")
