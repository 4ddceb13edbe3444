"""Which moments of a video are looked at. Pure."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """How many frames are taken, and when a video is cheap enough to be decoded whole.

    The paper does not say how many frames its router reads; these numbers are ours.

    Attributes:
        min_frames: frames of a short video.
        seconds_per_frame: a longer video gets one frame for every so many seconds: 8 frames reach 32 s.
        max_frames: the most frames, whatever the length.
        whole_pixels: a video whose frames have fewer pixels than this, all together, is decoded whole; with more, the
            decoder jumps. 720p: 300 frames.
    """

    min_frames: int = 8
    seconds_per_frame: float = 4.0
    max_frames: int = 32
    whole_pixels: int = 300 * 1280 * 720

    def __post_init__(self) -> None:
        if not 1 <= self.min_frames <= self.max_frames:
            raise ValueError("1 <= min_frames <= max_frames must hold")
        if self.seconds_per_frame <= 0:
            raise ValueError("seconds_per_frame must be greater than 0")

    def count(self, duration_s: float) -> int:
        """Number of frames for a video of this many seconds, in [min_frames, max_frames]."""
        return max(self.min_frames, min(self.max_frames, math.ceil(duration_s / self.seconds_per_frame)))


def sample_times(
    duration_s: float,
    *,
    plan: SamplingPlan | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    count: int | None = None,
) -> tuple[float, ...]:
    """Midpoints of equal bins between start and end, in seconds, increasing.

    Args:
        duration_s: length of the video; an end beyond it is cut to it.
        plan: says how many frames a segment of this length gets; the default plan where it is None.
        start_s: start of the segment.
        end_s: end of the segment; None means the end of the video.
        count: number of frames, in place of the plan's.

    Raises:
        ValueError: the segment starts at or beyond its end.
    """
    end = duration_s if end_s is None else min(end_s, duration_s)
    length = end - start_s
    if duration_s > 0 and length <= 0:
        raise ValueError(f"the segment from {start_s} s to {end} s is empty")
    wanted = count if count is not None else (plan or SamplingPlan()).count(length)
    return tuple(start_s + max(length, 0.0) * (i + 0.5) / wanted for i in range(wanted))
