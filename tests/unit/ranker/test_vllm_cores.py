"""A process that keeps off the cores of a model."""

import json
import os
import subprocess
import sys

import pytest

CORES = os.sched_getaffinity(0)
# Affinity is a matter of the whole process: a process of its own tells that of a thread before and one after.
PROGRAM = """
import json, os, sys, threading
from ranker_svc.engines.vllm.cores import keep_off
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
print(json.dumps([sorted(os.sched_getaffinity(0)), *found]))
"""


def kept_off(cores: set[int]) -> list[set[int]]:
    command = [sys.executable, "-c", PROGRAM, json.dumps(sorted(cores))]
    return [set(each) for each in json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)]


@pytest.mark.skipif(len(CORES) < 2, reason="there is one core")
def test_all_threads_move_to_the_other_cores() -> None:
    model = set(sorted(CORES)[:1])
    assert kept_off(model) == [CORES - model] * 3


@pytest.mark.parametrize("model", [set(), CORES], ids=["none", "all"])
def test_nothing_moves_where_no_core_is_the_model_s_alone(model: set[int]) -> None:
    assert kept_off(model) == [CORES] * 3
