"""Who answers: the engine's model, and a hash of everything else of this ranker that can change an answer. Pure."""

from collections.abc import Mapping

from ranker_svc.settings import Settings
from services.calibration import Calibrator
from services.contracts import ModelIdentity
from services.fingerprint import fingerprint, shaping_settings
from services.web.app import installed_version

WITHOUT_EFFECT = (
    # The model's own fingerprint and the engine's name say what these chose.
    "engine",
    "model",
    "revision",
    "calibrators_dir",
    # Where and how many at once.
    "threads",
    "max_waiting",
    "retry_after_s",
    "exit_delay_s",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_cache_gib",
    "gpu_memory_utilization",
    "tensor_parallel_size",
    "enforce_eager",
    "openai_urls",
    "openai_api_key",
    "openai_model",
    "openai_concurrency",
    "openai_check_s",
    "fingerprint",
)
"""Settings that change no answer."""


def configuration_of(settings: Settings, calibrators: Mapping[str, Calibrator]) -> str:
    """64 hex digits over the settings, the calibrators' content and the installed version, which stands for the code of
    prompts, context and assembly."""
    return fingerprint(
        {
            "version": installed_version(),
            "settings": shaping_settings(settings, without=WITHOUT_EFFECT),
            "calibrators": {name: each.model_dump(mode="json") for name, each in calibrators.items()},
        }
    )


def identity_of(engine: ModelIdentity, configuration: str) -> ModelIdentity:
    """The engine's identity with the configuration of the ranker around it."""
    return engine.model_copy(update={"configuration": configuration})
