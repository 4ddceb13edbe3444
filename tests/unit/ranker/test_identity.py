"""The hash of everything beside the weights that can change the ranker's answers."""

import pytest

from ranker_svc.identity import WITHOUT_EFFECT, configuration_of
from ranker_svc.settings import Settings
from services.calibration import Calibrator, TemperatureMap

PLAIN = configuration_of(Settings(), {})


@pytest.mark.parametrize(
    "change",
    [
        {"max_context_chars": 9},
        {"min_answer_mass": 0.1},
        {"max_frames": 4},
        {"dtype": "bfloat16"},
        {"device": "cuda"},
        {"quantization": "fp8"},
        {"engine_args": {"kv_cache_dtype": "fp8"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_settings_that_change_answers_change_it(change: dict[str, object]) -> None:
    assert configuration_of(Settings.model_validate(change), {}) != PLAIN


def test_settings_that_change_none_do_not() -> None:
    moved = Settings.model_validate({"port": 1, "log_level": "debug", "threads": 3, "max_waiting": 7, "data_dir": "/x"})
    assert configuration_of(moved, {}) == PLAIN
    batched = Settings.model_validate(
        {
            "max_model_len": 8192,
            "max_num_seqs": 9,
            "max_num_batched_tokens": 99,
            "kv_cache_gib": 4,
            "gpu_memory_utilization": 0.5,
            "tensor_parallel_size": 2,
            "enforce_eager": True,
        }
    )
    assert configuration_of(batched, {}) == PLAIN


def test_a_setting_counts_unless_it_is_named() -> None:
    assert set(WITHOUT_EFFECT) < set(Settings.model_fields)


def test_a_calibrator_counts_by_its_content() -> None:
    one, other = (
        configuration_of(Settings(), {"c": Calibrator(id="c", pooled=TemperatureMap(temperature=t))})
        for t in (1.0, 2.0)
    )
    assert len({PLAIN, one, other}) == 3
