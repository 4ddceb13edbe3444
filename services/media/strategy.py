"""How the wanted moments of a video are reached: decode it whole, jump to key frames, or jump and decode up to them."""

import bisect
from collections.abc import Sequence
from typing import Literal

Strategy = Literal["whole", "key_frames", "seek"]

_BLIND_JUMP_S = 4.0  # without an index, decoding on is preferred to seeking for a gap up to this


def choose_strategy(
    targets: Sequence[float], *, frames: float, pixels: int, whole_pixels: int, key_times: Sequence[float]
) -> Strategy:
    """Chooses by what the container says.

    `whole`: all frames together have few enough pixels. `key_frames`: the bin of every wanted time holds a key frame,
    so that one decoded frame each is enough. `seek`: key frames are rarer, or the container has no index of them.

    Args:
        targets: wanted times, seconds, increasing.
        frames: estimated number of frames of the video.
        pixels: pixels of one frame.
        whole_pixels: SamplingPlan.whole_pixels.
        key_times: times of the key frames, seconds, increasing; empty where the container does not say.
    """
    if frames * pixels <= whole_pixels:
        return "whole"
    if key_times:
        gaps = (abs(near - target) for near, target in zip(snap(targets, key_times), targets, strict=True))
        if max(gaps, default=0.0) <= half_bin(targets):
            return "key_frames"
    return "seek"


def half_bin(targets: Sequence[float]) -> float:
    """Half the distance of two wanted times, seconds; infinite for a single one."""
    return (targets[1] - targets[0]) / 2 if len(targets) > 1 else float("inf")


def snap(targets: Sequence[float], key_times: Sequence[float]) -> tuple[float, ...]:
    """The key frame nearest to each wanted time."""
    return tuple(_nearest(key_times, target) for target in targets)


def must_seek(position: float | None, target: float, key_times: Sequence[float]) -> bool:
    """Whether to seek for `target` rather than to decode on from `position` (None: nothing is decoded yet).

    With an index: only where a key frame lies between the two. Without: where the gap is wide.
    """
    if position is None:
        return target > (key_times[1] if len(key_times) > 1 else _BLIND_JUMP_S)
    if not key_times:
        return target - position > _BLIND_JUMP_S
    return bisect.bisect_right(key_times, target) > bisect.bisect_right(key_times, position)


def _nearest(key_times: Sequence[float], target: float) -> float:
    after = bisect.bisect_left(key_times, target)
    around = key_times[max(0, after - 1) : after + 1]
    return min(around, key=lambda key: abs(key - target))
