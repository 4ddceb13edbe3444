"""From settings to the arguments of vLLM's AsyncEngineArgs. Pure; vLLM is not imported."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.engines.vllm.cores import ONE_PROCESS
from ranker_svc.settings import Settings

NAMED: Mapping[str, str] = {
    "max_model_len": "max_model_len",
    "max_num_seqs": "max_num_seqs",
    "max_num_batched_tokens": "max_num_batched_tokens",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "tensor_parallel_size": "tensor_parallel_size",
    "kv_cache_memory_bytes": "kv_cache_gib",
    "enforce_eager": "enforce_eager",
    "quantization": "quantization",
    "dtype": "dtype",
    "model": "model",
    "revision": "revision",
    "limit_mm_per_prompt": "max_frames",
}
"""Engine arguments that have a setting of their own, and that setting."""

OWNED: Mapping[str, str] = {
    "runner": "answers are generated tokens",
    "convert": "answers are generated tokens",
    "logprobs_mode": "answers are read from raw log-probabilities",
    "max_logprobs": "answers are read from named tokens",
    "skip_tokenizer_init": "the answer tokens are found with the tokenizer",
    "disable_log_stats": "the waiting requests are read from the statistics",
    "enable_log_requests": "requests hold what users wrote",
    "language_model_only": "frames are images",
    "served_model_name": "the service names the model itself",
}
"""Engine arguments that cannot be set, and why."""

MIN_BATCHED_TOKENS = 8192
CPU_BLOCK_SIZE = 32
"""Tokens of a block of the key-value cache on a CPU: vLLM's smallest there, so that little of a frame is seen twice."""


def engine_arguments(
    settings: Settings,
    family: Mapping[str, Any],
    *,
    cpu: bool,
    frame_tokens: int = 640,
    name: str | None = None,
    kv_cache_set: bool = False,
) -> dict[str, Any]:
    """Arguments for AsyncEngineArgs, names as vLLM has them.

    Args:
        settings: see ranker_svc.settings.
        family: what the model's family needs, see families.Family.engine_arguments.
        cpu: whether this vLLM runs on a CPU.
        frame_tokens: see families.Family; a step of the model has room for all frames that are allowed.
        name: the model's, for the labels of vLLM's metrics; vLLM takes the whole path if None.
        kv_cache_set: whether vLLM's own variable (VLLM_CPU_KVCACHE_SPACE) sets the cache of a CPU.

    Raises:
        EngineStartError: `engine_args` holds an argument that has a setting of its own or cannot be set.
    """
    extra = dict(settings.engine_args)
    for each in extra:
        if each in NAMED:
            variable = f"WINNOW_RANKER_{NAMED[each].upper()}"
            raise EngineStartError(f"the engine argument {each!r} has a setting of its own: set {variable} instead")
        if each in OWNED:
            raise EngineStartError(f"the engine argument {each!r} cannot be set: {OWNED[each]}")
        if each in family:
            extra[each] = _joined(each, family[each], extra[each])
    kv_cache_gib = settings.kv_cache_gib
    if kv_cache_gib is None and cpu and not kv_cache_set:
        kv_cache_gib = 1.0
    arguments: dict[str, Any] = {
        "model": settings.model,
        "served_model_name": name,
        "revision": settings.revision,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens
        or max(MIN_BATCHED_TOKENS, frame_tokens * settings.max_frames),
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "kv_cache_memory_bytes": None if kv_cache_gib is None else int(kv_cache_gib * 2**30),
        "enforce_eager": cpu if settings.enforce_eager is None else settings.enforce_eager,
        "quantization": settings.quantization,
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "use_tqdm_on_load": False,
        "runner": "generate",
        "logprobs_mode": "raw_logprobs",
    }
    if cpu:
        arguments["block_size"] = CPU_BLOCK_SIZE
        if settings.tensor_parallel_size in (None, 1) and not any("parallel" in each for each in extra):
            # vLLM's choice there is a process for the model, for which the engine process waits without sleeping.
            arguments["distributed_executor_backend"] = ONE_PROCESS
    return {key: value for key, value in {**arguments, **family, **extra}.items() if value is not None}


def check_names(names: Collection[str], known: Collection[str]) -> None:
    """Refuse arguments that this vLLM does not have.

    Raises:
        EngineStartError: it names the first such argument and those it may have meant.
    """
    for name in sorted(set(names) - set(known)):
        close = difflib.get_close_matches(name, sorted(known), n=3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise EngineStartError(f"vLLM has no engine argument {name!r} (WINNOW_RANKER_ENGINE_ARGS){hint}")


def _joined(name: str, family: Any, extra: Any) -> Any:
    """Both objects in one; they must not name the same thing."""
    if not (isinstance(family, Mapping) and isinstance(extra, Mapping)) or set(family) & set(extra):
        raise EngineStartError(f"the engine argument {name!r} is set by the model's family as {family!r}")
    return {**family, **extra}
