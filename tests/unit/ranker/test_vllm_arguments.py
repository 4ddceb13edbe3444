"""From settings to the arguments of vLLM's engine."""

from typing import Any

import pytest

from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.engines.vllm.arguments import NAMED, OWNED, check_names, engine_arguments
from ranker_svc.engines.vllm.cores import ONE_PROCESS
from ranker_svc.settings import Settings

IMAGES = {"limit_mm_per_prompt": {"image": 16, "video": 0}}


def arguments(cpu: bool = True, kv_cache_set: bool = False, **settings: Any) -> dict[str, Any]:
    return engine_arguments(Settings(engine="vllm", **settings), IMAGES, cpu=cpu, kv_cache_set=kv_cache_set)


def test_on_a_cpu() -> None:
    found = arguments()
    assert found["model"] == Settings().model
    assert found["dtype"] == "float32"
    assert found["enforce_eager"] is True
    assert found["kv_cache_memory_bytes"] == 2**30
    assert found["block_size"] == 32
    assert found["limit_mm_per_prompt"] == IMAGES["limit_mm_per_prompt"]
    assert found["enable_prefix_caching"] is True
    # vLLM chooses what is not given.
    assert {"max_model_len", "max_num_seqs", "gpu_memory_utilization", "quantization", "revision"}.isdisjoint(found)


@pytest.mark.parametrize(
    ("cpu", "settings", "executor"),
    [
        (True, {}, ONE_PROCESS),
        (True, {"tensor_parallel_size": 1}, ONE_PROCESS),
        # vLLM chooses where there are several workers, and on a GPU.
        (True, {"tensor_parallel_size": 2}, None),
        (True, {"engine_args": {"data_parallel_size": 2}}, None),
        (False, {}, None),
        (True, {"engine_args": {"distributed_executor_backend": "mp"}}, "mp"),
    ],
)
def test_where_the_model_computes(cpu: bool, settings: dict[str, Any], executor: str | None) -> None:
    assert arguments(cpu=cpu, **settings).get("distributed_executor_backend") == executor


def test_the_name_under_which_vllms_metrics_speak_of_the_model() -> None:
    assert engine_arguments(Settings(), {}, cpu=True, name="demo")["served_model_name"] == "demo"


def test_on_a_gpu_memory_and_blocks_are_left_to_vllm() -> None:
    found = arguments(cpu=False)
    assert found["enforce_eager"] is False
    assert {"kv_cache_memory_bytes", "block_size"}.isdisjoint(found)


@pytest.mark.parametrize(("max_frames", "tokens"), [(1, 8192), (8, 8192), (16, 10_240), (64, 40_960)])
def test_a_step_has_room_for_the_frames_of_a_request(max_frames: int, tokens: int) -> None:
    assert arguments(max_frames=max_frames)["max_num_batched_tokens"] == tokens


def test_vllms_own_variable_for_the_cache_of_a_cpu_is_obeyed() -> None:
    assert "kv_cache_memory_bytes" not in arguments(kv_cache_set=True)
    assert arguments(kv_cache_set=True, kv_cache_gib=0.5)["kv_cache_memory_bytes"] == 2**29


def test_named_settings() -> None:
    named = {
        "max_model_len": 4096,
        "max_num_seqs": 7,
        "max_num_batched_tokens": 999,
        "gpu_memory_utilization": 0.5,
        "tensor_parallel_size": 2,
        "enforce_eager": False,
        "quantization": "fp8",
        "dtype": "bfloat16",
        "revision": "main",
    }
    assert named.items() <= arguments(**named).items()


def test_a_step_has_room_for_all_frames_of_the_family() -> None:
    def tokens(frame_tokens: int, **settings: Any) -> int:
        found = engine_arguments(Settings(max_frames=16, **settings), {}, cpu=True, frame_tokens=frame_tokens)
        return int(found["max_num_batched_tokens"])

    assert (tokens(100), tokens(1176), tokens(1176, max_num_batched_tokens=512)) == (8192, 16 * 1176, 512)


def test_other_arguments_pass_and_win_over_our_defaults() -> None:
    found = arguments(engine_args={"block_size": 64, "seed": 3})
    assert (found["block_size"], found["seed"]) == (64, 3)


@pytest.mark.parametrize("name", NAMED)
def test_an_argument_with_a_setting_of_its_own_is_refused(name: str) -> None:
    assert NAMED[name] in Settings.model_fields
    with pytest.raises(EngineStartError, match=f"{name}.*WINNOW_RANKER_{NAMED[name].upper()}"):
        arguments(engine_args={name: 1})


@pytest.mark.parametrize("name", OWNED)
def test_an_argument_that_is_ours_is_refused(name: str) -> None:
    with pytest.raises(EngineStartError, match=f"{name!r} cannot be set: {OWNED[name]}"):
        arguments(engine_args={name: 1})


def test_objects_of_the_family_and_of_the_operator_are_joined_but_not_overruled() -> None:
    family = {"hf_overrides": {"a": 1}}

    def joined(overrides: object) -> Any:
        settings = Settings(engine="vllm", engine_args={"hf_overrides": overrides})
        return engine_arguments(settings, family, cpu=True)["hf_overrides"]

    assert joined({"b": 2}) == {"a": 1, "b": 2}
    for overrides in ({"a": 2}, "text"):
        with pytest.raises(EngineStartError, match="set by the model's family"):
            joined(overrides)


def test_an_unknown_argument_is_refused_with_those_that_it_may_mean() -> None:
    known = ["max_num_seqs", "max_model_len", "seed"]
    check_names(["seed", "max_model_len"], known)
    with pytest.raises(EngineStartError, match=r"'max_num_seq' .*did you mean 'max_num_seqs'\?"):
        check_names(["seed", "max_num_seq"], known)
    with pytest.raises(EngineStartError, match=r"'zzz' \(WINNOW_RANKER_ENGINE_ARGS\)$"):
        check_names(["zzz"], known)


def test_they_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_RANKER_ENGINE_ARGS", '{"mm_processor_cache_gb": 8}')
    monkeypatch.setenv("WINNOW_RANKER_MAX_NUM_SEQS", "5")
    found = engine_arguments(Settings(), {}, cpu=True)
    assert (found["mm_processor_cache_gb"], found["max_num_seqs"]) == (8, 5)
