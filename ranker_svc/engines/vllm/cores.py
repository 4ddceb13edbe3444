"""Where vLLM runs on a CPU: the cores that the model computes on, and this process, which keeps off them."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""vLLM's executor that computes in the engine process, by its path: `uni` means another one on a CPU."""


@contextmanager
def model_cores(config: Any) -> Iterator[frozenset[int]]:
    """Binds the engine process that is started in the block to the cores that vLLM chooses for its worker processes.

    vLLM does so itself for the processes of its `mp` executor. VLLM_CPU_OMP_THREADS_BIND is obeyed.

    Args:
        config: VllmConfig.

    Yields:
        The cores; none where nothing is bound, or vLLM sees to it.
    """
    from vllm.platforms import current_platform

    if config.parallel_config.distributed_executor_backend != ONE_PROCESS or not current_platform.is_cpu():
        yield frozenset()
        return
    from vllm.utils.ompmultiprocessing import OMPProcessManager

    binding = OMPProcessManager(config)
    with binding.configure_omp_envs(rank=0, local_rank=0):
        yield frozenset(binding.cpu_lists[0] if binding.cpu_lists else ())


def keep_off(cores: Collection[int]) -> None:
    """Move all threads of this process to other cores, where it may use any; a thread that starts later follows.

    Linux wakes a process where the one runs that has woken it: without this, whoever waits for an answer of the model
    is put on the model's core, while another one idles.
    """
    _move(lambda allowed: allowed - set(cores), cores)


def take_back(cores: Collection[int]) -> None:
    """Let all threads of this process use these cores again: the model is gone."""
    _move(lambda allowed: allowed | set(cores), cores)


def _move(to: Callable[[set[int]], set[int]], cores: Collection[int]) -> None:
    # Elsewhere than on Linux cores cannot be chosen.
    if not cores or not hasattr(os, "sched_setaffinity"):
        return
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended, or the system does not allow it
            if wanted := to(os.sched_getaffinity(int(thread.name))):
                os.sched_setaffinity(int(thread.name), wanted)
