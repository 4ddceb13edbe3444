"""A process that keeps off the cores of a model."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux alone")
CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
# Affinity is a matter of the whole process: one of its own tells that of a thread from before, of one that starts
# later, of the main thread, and of that when the model is gone.
PROGRAM = """
import json, os, sys, threading
from ranker_svc.engines.vllm.cores import keep_off, take_back
asked, found = threading.Event(), []
def look():
    asked.wait()
    found.append(sorted(os.sched_getaffinity(0)))
before = threading.Thread(target=look)
before.start()
keep_off(json.loads(sys.argv[1]))
asked.set()
before.join()
after = threading.Thread(target=look)
after.start()
after.join()
found.append(sorted(os.sched_getaffinity(0)))
take_back(json.loads(sys.argv[1]))
print(json.dumps([*found, sorted(os.sched_getaffinity(0))]))
"""


def kept_off(cores: set[int]) -> list[set[int]]:
    """Cores that threads of a process may use which keeps off some."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(sorted(cores))]
    return [set(each) for each in json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)]


@pytest.mark.skipif(len(CORES) < 2, reason="there is one core")
def test_all_threads_move_to_the_other_cores_until_the_model_is_gone() -> None:
    model = set(sorted(CORES)[:1])
    assert kept_off(model) == [CORES - model] * 3 + [CORES]


@pytest.mark.parametrize("model", [set(), CORES], ids=["none", "all"])
def test_nothing_moves_where_no_core_is_the_model_s_alone(model: set[int]) -> None:
    assert kept_off(model) == [CORES] * 4
