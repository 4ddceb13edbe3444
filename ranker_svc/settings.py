"""The ranker's settings, read from `WINNOW_RANKER_*`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.settings import InternalSettings

EngineName = Literal["reference", "vllm", "openai", "deterministic"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
FramesWish = Literal["auto", "images", "video"]


def bundled_model() -> str:
    """Directory of the small model that ships with the service."""
    return str(Path(__file__).with_name("models") / "demo")


class Settings(InternalSettings):
    """Settings of the ranker."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_RANKER_")

    port: int = Field(default=8082, ge=0, le=65_535, description="TCP port to bind; 0 takes a free one.")
    max_body_bytes: int = Field(default=16 * 1024 * 1024, gt=0, description="Most bytes of a request body.")
    engine: EngineName = Field(
        default="reference",
        description="`reference`: transformers in this process. `vllm`: vLLM in this process, for production. "
        "`openai`: an OpenAI-compatible server. `deterministic`: a hash instead of a model, for tests.",
    )
    model: str = Field(
        default_factory=bundled_model,
        min_length=1,
        description="Directory or hub id of a checkpoint of the LLaVA architecture; the bundled one by default.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model from a hub.")
    dtype: Dtype = Field(default="float32", description="Precision of the weights; `auto` keeps the checkpoint's.")
    device: str = Field(default="cpu", description="Torch device, e.g. `cpu`, `cuda` or `cuda:1`.")
    threads: int | None = Field(
        default=None, ge=1, description="reference: CPU threads of torch; its own choice if unset."
    )
    question_batch: int = Field(
        default=16, ge=1, description="Questions in one forward pass; each holds a copy of the frames' key-value cache."
    )
    frames_as: FramesWish = Field(
        default="auto",
        description="`auto`: frames go into the model as its family is used to; `images` or `video` overrules that.",
    )
    max_model_len: int | None = Field(
        default=None, ge=1, description="vLLM: most tokens of a prompt with its frames; the model's own if unset."
    )
    max_num_seqs: int | None = Field(
        default=None, ge=1, description="vLLM: most prompts in one step of the model; vLLM's choice if unset."
    )
    max_num_batched_tokens: int | None = Field(
        default=None,
        ge=1,
        description="vLLM: most tokens in one step of the model; if unset what `max_frames` frames take in the model's "
        "family, at least 8192.",
    )
    kv_cache_gib: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="vLLM: size of the key-value cache, GiB; if unset 1 on a CPU, and on a GPU what "
        "`gpu_memory_utilization` leaves.",
    )
    gpu_memory_utilization: float | None = Field(
        default=None, gt=0, le=1, description="vLLM: share of a GPU's memory that it may use; vLLM's choice if unset."
    )
    tensor_parallel_size: int | None = Field(
        default=None, ge=1, description="vLLM: GPUs that share the model; one if unset."
    )
    enforce_eager: bool | None = Field(
        default=None, description="vLLM: run the model without compiling it; if unset on a CPU alone."
    )
    quantization: str | None = Field(
        default=None, min_length=1, description="vLLM: method of quantization, e.g. `fp8`; the checkpoint's if unset."
    )
    engine_args: dict[str, Any] = Field(
        default_factory=dict,
        description="vLLM: every other argument of its AsyncEngineArgs, a JSON object, e.g. "
        '`{"mm_processor_cache_gb": 8}`.',
    )
    openai_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("http://127.0.0.1:8000",),
        min_length=1,
        description="openai: servers of one model, or one load balancer, separated by commas; with or without `/v1`.",
    )
    openai_api_key: SecretStr | None = Field(default=None, description="openai: API key of the servers.")
    openai_model: str | None = Field(
        default=None, min_length=1, description="openai: name under which they serve the model; `model` if unset."
    )
    openai_logprobs: Literal["auto", "token_ids", "top"] = Field(
        default="auto",
        description="openai: `token_ids`: log-probabilities of Yes and No by name, exact (vLLM from 0.32). `top`: "
        "those of the likeliest tokens. `auto`: the first that works.",
    )
    openai_top_logprobs: int = Field(
        default=20, ge=2, le=1000, description="openai: likeliest tokens asked for; fewer where a server refuses."
    )
    openai_concurrency: int = Field(
        default=64, ge=1, description="openai: prompts at a time to one server; more wait for a place."
    )
    openai_check_s: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="openai: seconds between health checks of a server."
    )
    fingerprint: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="openai: fingerprint of the model, so that calibrators fitted for the checkpoint match; if unset a "
        "hash of what the servers tell of the model.",
    )
    max_waiting: int = Field(
        default=32, ge=1, description="Requests that may wait or be answered at once; more are refused with 429."
    )
    retry_after_s: float = Field(default=1.0, gt=0, description="Seconds that a refused caller is told to wait.")
    exit_delay_s: float = Field(
        default=5.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds from an engine's death to the exit with code 1, in which `/health/ready` says so.",
    )
    max_frames: int = Field(default=16, ge=1, le=64, description="Most frames of a request.")
    max_image_pixels: int = Field(default=1_048_576, ge=1, description="Most pixels of one frame.")
    max_context_chars: int = Field(
        default=400, ge=0, le=20_000, description="Most bytes of the uploader's text that the model is shown."
    )
    min_answer_mass: float = Field(
        default=0.5, ge=0, le=1, description="An answer with less of its distribution on Yes and No draws a warning."
    )
    calibrators_dir: Path | None = Field(
        default=None, description="Directory of calibrators; `calibrators` in the model's directory if unset."
    )

    @field_validator("openai_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(url.strip() for url in value.split(",") if url.strip())
        return value
