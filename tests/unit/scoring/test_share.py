"""Shares of traffic: as large as they say, always the same for the same video, and growing without losing any."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring import takes_part

VIDEOS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(4_000)]
SEED = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2

shares = st.floats(0.0, 1.0, exclude_min=True)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_share_is_as_large_as_it_says(share: float) -> None:
    part = sum(takes_part(video, SEED, share) for video in VIDEOS) / len(VIDEOS)
    assert part == pytest.approx(share, abs=4 * (share * (1 - share) / len(VIDEOS)) ** 0.5)


@given(st.sampled_from(VIDEOS), shares, shares)
def test_a_raised_share_keeps_the_videos_that_it_had(video: str, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    assert not takes_part(video, SEED, smaller) or takes_part(video, SEED, larger)
    assert takes_part(video, SEED, 1.0)


def test_the_seeds_of_one_share_do_not_all_meet_the_same_videos() -> None:
    both = sum(takes_part(video, SEED, 0.5) and takes_part(video, OTHER, 0.5) for video in VIDEOS) / len(VIDEOS)
    assert both == pytest.approx(0.25, abs=0.03)


def test_every_replica_and_every_version_answers_the_same() -> None:
    assert [takes_part(VIDEOS[number], SEED, 0.5) for number in range(8)] == [
        False,
        True,
        True,
        True,
        True,
        False,
        True,
        True,
    ]
