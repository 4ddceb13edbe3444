"""Which engine a setting names."""

from pathlib import Path
from typing import assert_never

from ranker_svc.engines.deterministic import DeterministicEngine
from ranker_svc.engines.protocol import Engine
from ranker_svc.settings import Settings


def create_engine(settings: Settings) -> Engine:
    """The engine that the settings name, not yet started; its libraries are imported when it starts."""
    match settings.engine:
        case "reference":
            from ranker_svc.engines.reference import ReferenceEngine

            return ReferenceEngine(
                settings.model,
                revision=settings.revision,
                dtype=settings.dtype,
                device=settings.device,
                threads=settings.threads,
                question_batch=settings.question_batch,
                max_frames=settings.max_frames,
                frames_as=settings.frames_as,
            )
        case "vllm":
            from ranker_svc.engines.vllm.engine import VllmEngine

            return VllmEngine(settings)
        case "openai":
            from ranker_svc.engines.openai.engine import OpenAIEngine

            return OpenAIEngine(
                settings.openai_urls,
                settings.openai_model or settings.model,
                key=settings.openai_api_key,
                mode=settings.openai_logprobs,
                top=settings.openai_top_logprobs,
                concurrency=settings.openai_concurrency,
                check_s=settings.openai_check_s,
                fingerprint=settings.fingerprint,
            )
        case "deterministic":
            return DeterministicEngine()
        case _:
            assert_never(settings.engine)


def calibrators_directory(settings: Settings) -> Path:
    """Where the calibrators are: as set, or beside the model where that is a directory."""
    return settings.calibrators_dir or Path(settings.model) / "calibrators"
