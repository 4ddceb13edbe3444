"""The watch over seeds: what it counts, whom it suspects, and whom it leaves alone."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_svc.seeds.watch import SeedHits, SeedWatch, wilson_lower
from services.contracts import SeedStats

START = datetime(2026, 5, 1, tzinfo=UTC)
WIDE, RARE, OTHER = "a" * 32, "b" * 32, "c" * 32


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def watch(window: int = 200, min_videos: int = 50, min_judged: int = 10) -> SeedWatch:
    return SeedWatch(
        window=window, min_videos=min_videos, max_share=0.2, min_judged=min_judged, max_refuted=0.5, clock=Clock()
    )


def suspected(watch: SeedWatch, shares: dict[str, float] | None = None) -> list[str]:
    return [seed_id for seed_id, _ in watch.suspects({}, shares)]


def see(watch: SeedWatch, videos: int, every: int, seeds: Iterable[str]) -> None:
    """So many videos, each `every`-th of which matches the seeds."""
    for number in range(videos):
        watch.observed(matched=seeds if number % every == 0 else ())


@pytest.mark.parametrize(
    ("successes", "trials", "bound"),
    [(0, 0, 0.0), (0, 10, 0.0), (10, 10, 0.7225), (5, 10, 0.2366), (1, 3, 0.0615), (500, 1000, 0.4691)],
)
def test_the_wilson_bound_is_that_of_the_tables(successes: int, trials: int, bound: float) -> None:
    assert wilson_lower(successes, trials) == pytest.approx(bound, abs=5e-5)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_the_wilson_bound_is_below_the_share_and_rises_with_proof(trials: int, share: float) -> None:
    successes = round(trials * share)
    bound = wilson_lower(successes, trials)
    assert 0.0 <= bound <= successes / trials
    assert bound <= wilson_lower(10 * successes, 10 * trials) + 1e-12


def test_a_seed_that_matches_too_much_is_suspected_and_one_that_does_not_is_not() -> None:
    seen = watch()
    see(seen, 200, 2, [WIDE])
    see(seen, 200, 10, [RARE])
    assert suspected(seen) == []  # the wide one is out of the window
    for number in range(200):
        seen.observed(matched=[*([WIDE] if number % 2 == 0 else []), *([RARE] if number % 10 == 0 else [])])
    [(seed_id, why)] = seen.suspects({})
    assert seed_id == WIDE
    assert "100 of the last 200 videos" in why
    assert "43.1%" in why
    assert "20.0%" in why


def test_few_videos_prove_nothing() -> None:
    seen = watch()
    see(seen, 49, 1, [WIDE])
    assert suspected(seen) == []
    see(seen, 1, 1, [WIDE])
    assert suspected(seen) == [WIDE]


def test_a_share_that_may_be_chance_is_no_proof() -> None:
    seen = watch()
    see(seen, 200, 4, [WIDE])
    assert suspected(seen) == []  # 25 % of 200, which may be 19.5 %


def test_a_new_seed_is_not_excused_by_the_videos_before_it() -> None:
    seen = watch(window=1_000)
    see(seen, 1_000, 1, ())
    see(seen, 50, 1, [WIDE])
    assert suspected(seen) == [WIDE]


@pytest.mark.parametrize(("share", "bad"), [(1.0, False), (0.9, False), (0.1, True)])
def test_a_seed_with_a_small_share_of_traffic_is_judged_by_its_videos(share: float, bad: bool) -> None:
    seen = watch(window=2_000)
    see(seen, 2_000, 10, [WIDE])
    assert suspected(seen, {WIDE: share}) == [WIDE] * bad


def test_a_seed_whose_share_was_changed_starts_anew() -> None:
    seen = watch(window=2_000)
    see(seen, 2_000, 10, [WIDE])
    assert suspected(seen) == []
    assert suspected(seen, {WIDE: 0.1}) == []
    see(seen, 400, 10, [WIDE])
    assert suspected(seen, {WIDE: 0.1}) == []
    see(seen, 200, 10, [WIDE])
    assert suspected(seen, {WIDE: 0.1}) == [WIDE]  # all of about 60


def test_a_seed_counts_once_for_a_video() -> None:
    seen = watch()
    see(seen, 200, 8, [RARE, RARE, RARE])
    assert suspected(seen) == []


def test_what_left_the_window_no_longer_counts() -> None:
    seen = watch()
    see(seen, 200, 1, [WIDE])
    assert suspected(seen) == [WIDE]
    see(seen, 150, 1, ())
    assert suspected(seen) == []  # 50 of 200
    see(seen, 50, 1, ())
    see(seen, 200, 5, [WIDE])
    assert suspected(seen) == []


def test_after_a_restart_only_later_videos_count() -> None:
    seen = watch()
    see(seen, 200, 1, [WIDE])
    seen.restart(WIDE)
    assert suspected(seen) == []
    see(seen, 200, 10, [WIDE])
    assert suspected(seen) == []
    see(seen, 100, 1, [WIDE])
    assert suspected(seen) == [WIDE]


def test_the_memory_is_bounded_by_the_window() -> None:
    seen = watch(window=100)
    for number in range(5_000):
        seen.observed(matched=[f"{number:032x}"])
        seen.restart(f"{number % 7:032x}")
    seen.suspects({})
    assert len(seen._last) == 100
    assert len(seen._recent) <= 107


def test_hits_are_gathered_by_seed_until_they_are_flushed() -> None:
    seen = watch()
    seen.observed(judged=[(WIDE, True), (RARE, None)])
    seen.observed(judged=[(WIDE, False)])
    seen.observed(judged=[(WIDE, None)])
    seen.observed(matched=[OTHER])
    flushed = seen.flush()
    at = [START + timedelta(seconds=second) for second in range(5)]
    assert flushed == [SeedHits(WIDE, 3, 1, 1, at[4]), SeedHits(RARE, 1, 0, 0, at[2])]
    assert seen.flush() == []


def test_what_could_not_be_recorded_is_put_back() -> None:
    seen = watch()
    seen.observed(judged=[(WIDE, True)])
    lost = seen.flush()
    seen.observed(judged=[(WIDE, False)])
    seen.put_back(lost)
    [hits] = seen.flush()
    assert (hits.hits, hits.confirmed, hits.refuted) == (2, 1, 1)
    assert hits.last_hit_at == START + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("confirmed", "refuted", "bad"),
    [(0, 9, False), (0, 10, True), (10, 10, False), (40, 60, True), (41, 59, False), (100, 0, False)],
)
def test_a_seed_whose_hits_are_mostly_refuted_is_suspected(confirmed: int, refuted: int, bad: bool) -> None:
    stats = SeedStats(hits=500, confirmed=confirmed, refuted=refuted)
    found = watch().suspects({WIDE: stats, RARE: SeedStats(hits=1_000)})
    assert [seed_id for seed_id, _ in found] == [WIDE] * bad
    if bad:
        assert f"refuted {refuted} of the {confirmed + refuted} hits" in found[0][1]


def test_a_window_that_can_never_be_full_enough_is_an_error() -> None:
    with pytest.raises(ValueError, match="min_videos"):
        watch(window=40, min_videos=50)
