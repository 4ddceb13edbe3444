"""Sampling times, strategies, JPEG: what needs no video."""

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.media import SamplingPlan, encode_jpeg, sample_times
from services.media.strategy import choose_strategy, must_seek
from tests.media_factory import RED, flat


def test_midpoints() -> None:
    assert sample_times(8.0) == (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5)
    assert sample_times(10.0, start_s=4.0, end_s=6.0, count=2) == (4.5, 5.5)


@pytest.mark.parametrize(("seconds", "frames"), [(0.1, 8), (32.0, 8), (32.1, 9), (64.0, 16), (128.0, 32), (9999.0, 32)])
def test_more_frames_with_duration_up_to_the_cap(seconds: float, frames: int) -> None:
    assert len(sample_times(seconds)) == frames


@given(duration=st.floats(0.01, 1e5), start=st.floats(0, 0.9), length=st.floats(0.01, 1.0), count=st.integers(1, 64))
def test_times_increase_inside_the_segment(duration: float, start: float, length: float, count: int) -> None:
    times = sample_times(duration, start_s=start * duration, end_s=(start + length) * duration, count=count)
    assert len(times) == count
    assert all(a < b for a, b in pairwise(times))
    assert start * duration < times[0]
    assert times[-1] < min(1.0, start + length) * duration


def test_an_empty_segment_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        sample_times(5.0, start_s=5.0)


def test_plan_is_checked() -> None:
    with pytest.raises(ValueError, match="min_frames"):
        SamplingPlan(min_frames=9, max_frames=8)


@pytest.mark.parametrize(
    ("frames", "keys", "expected"),
    [(100, [], "whole"), (1000, [0, 10, 20, 30], "key_frames"), (1000, [0, 30], "seek"), (1000, [], "seek")],
)
def test_strategy(frames: int, keys: list[float], expected: str) -> None:
    chosen = choose_strategy((5.0, 15.0, 25.0), frames=frames, pixels=10, whole_pixels=5000, key_times=keys)
    assert chosen == expected


def test_decodes_on_inside_a_group_of_pictures() -> None:
    assert not must_seek(3.0, 9.0, [0.0, 10.0])
    assert must_seek(3.0, 11.0, [0.0, 10.0])
    assert not must_seek(None, 1.0, [0.0, 10.0])
    assert must_seek(1.0, 60.0, [])


def test_jpeg() -> None:
    picture = Image.open(io.BytesIO(encode_jpeg(flat(RED), 90)))
    assert picture.format == "JPEG"
    assert np.abs(np.asarray(picture).mean(axis=(0, 1)) - RED).max() < 4
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert len(encode_jpeg(noise, 30)) < len(encode_jpeg(noise, 95))
