"""Which samples a step trains on and at what rate, by arithmetic alone: a resumed run needs no more than its position.

The samples of a step do not depend on the number of processes or on how many fit into memory at a time.
"""

import math
from collections.abc import Sequence

import numpy as np


def steps_of(samples: int, batch: int) -> int:
    """Optimizer steps of an epoch; the last one is filled up from the epoch's beginning."""
    return math.ceil(samples / batch)


def epoch_order(samples: int, *, seed: int, phase: int, epoch: int) -> list[int]:
    """A permutation of the samples that seed, phase and epoch determine."""
    order: list[int] = np.random.default_rng([seed, phase, epoch]).permutation(samples).tolist()
    return order


def batch_at(order: Sequence[int], step: int, batch: int) -> list[int]:
    """The samples of one step, `batch` of them."""
    return [order[(step * batch + i) % len(order)] for i in range(batch)]


def share(batch: Sequence[int], *, rank: int, world: int, micro_batch: int) -> list[list[int]]:
    """What one of `world` processes sees of a batch, in pieces of at most `micro_batch`."""
    own = batch[rank::world]
    return [list(own[start : start + micro_batch]) for start in range(0, len(own), micro_batch)]


def check_batch(batch: int, world: int) -> None:
    """Every process must get as many samples of a step as any other.

    Raises:
        ValueError: the batch cannot be divided among the processes.
    """
    if batch % world:
        raise ValueError(f"--batch {batch} cannot be divided among {world} processes; give a multiple of {world}")


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Share of the highest learning rate in step `step` (from 0) of `steps`: linear warm-up, then a cosine to 0."""
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def step_seed(seed: int, phase: int, step: int, rank: int) -> int:
    """Seed of what is random within a step (dropout), so that a resumed run draws the same."""
    return int(np.random.SeedSequence([seed, phase, step, rank]).generate_state(1)[0])
