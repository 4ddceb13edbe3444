"""The hash of everything beside encoder and bank that can change the router's results."""

import pytest

from router_svc.settings import Settings
from router_svc.state import WITHOUT_EFFECT, configuration_of
from services.scoring import Background

PLAIN = configuration_of(Settings(), Background.identity())
CHANGES: dict[str, object] = {
    "frames_min": 4,
    "frames_max": 16,
    "seconds_per_frame": 1.0,
    "frame_short_side": 224,
    "max_duration_s": 60.0,
    "matches_per_frame": 4,
    "matches_returned": 2,
    "negative_weight": 0.1,
    "negative_margin": 0.1,
    "rank_frames": 2,
    "jpeg_quality": 50,
}


@pytest.mark.parametrize("name", CHANGES)
def test_settings_that_change_results_change_it(name: str) -> None:
    assert configuration_of(Settings.model_validate({name: CHANGES[name]}), Background.identity()) != PLAIN


def test_settings_that_change_none_do_not() -> None:
    moved = Settings.model_validate({"port": 1, "data_dir": "/x", "decode_workers": 9, "ranker_urls": "http://r:1"})
    assert configuration_of(moved, Background.identity()) == PLAIN


def test_a_setting_counts_unless_it_is_named() -> None:
    assert set(WITHOUT_EFFECT) < set(Settings.model_fields)


def test_the_background_counts_by_its_content() -> None:
    fitted = Background(encoder="e", knots={"golden": ((0.1, 0.0), (1.0, 1.0))})
    assert configuration_of(Settings(), fitted) != PLAIN
