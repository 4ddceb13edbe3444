"""Made-up traffic with known truth, for tests of thresholds."""

import numpy as np

from offline.demo_world.splits import MIX
from offline.tuning.judged import Judged

ISSUES = tuple(f"issue_{number}" for number in range(4))


def population(
    violations: int,
    look_alikes: int,
    others: int,
    *,
    apart: float = 4.5,
    seed: int = 5,
    issues: tuple[str, ...] = ISSUES,
) -> Judged:
    """Videos whose violations are `apart` standard deviations from the rest; issues take turns."""
    rng = np.random.default_rng(seed)
    counts = {"violation": violations, "look_alike": look_alikes, "other": others}
    kind = np.repeat(list(counts), list(counts.values()))
    size, width = len(kind), len(ISSUES)
    turn = np.arange(size) % width
    own = np.eye(width, dtype=bool)[turn]
    truth = own & (kind == "violation")[:, None]
    resembles = own & (kind == "look_alike")[:, None]
    noise = rng.normal(0, 1, (3, size, width))
    risk = noise[0] + truth * (apart + 0.6 * noise[1]) + resembles * (1 + noise[1])
    probability = 0.3 * noise[0] + noise[2] + truth * 1.2 * apart + resembles * 0.5
    weight = np.array([MIX[name] / counts[name] for name in counts])
    return Judged(
        ISSUES, _sigmoid(risk - 3), _sigmoid(probability - 2), truth, np.repeat(weight, list(counts.values())), kind
    )


def drawn(whole: Judged, violations: int, look_alikes: int, others: int, *, seed: int) -> Judged:
    """A sample of it, with replacement, so many of each kind."""
    rng = np.random.default_rng(seed)
    counts = {"violation": violations, "look_alike": look_alikes, "other": others}
    index = np.concatenate([rng.choice(np.flatnonzero(whole.kind == name), size=n) for name, n in counts.items()])
    sample = whole.at(index)
    weight = np.array([MIX[name] / counts[name] for name in sample.kind])
    return Judged(sample.issues, sample.risk, sample.probability, sample.truth, weight, sample.kind)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
