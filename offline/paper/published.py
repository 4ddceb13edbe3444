"""What the paper prints in its tables 1 and 2, in percent, on its own private data (Filter-And-Refine). Constants."""

from collections.abc import Mapping
from types import MappingProxyType

Printed = tuple[float, float, float]
"""PR-AUC, ROC-AUC, Max-F1."""

TABLE1: Mapping[tuple[str, str], Printed] = MappingProxyType(
    {
        ("classifier", ""): (30.79, 65.31, 36.81),
        ("zero_shot", ""): (23.17, 58.59, 31.32),
        ("caption", ""): (28.85, 65.88, 36.71),
        ("phased", "P1"): (66.96, 87.01, 60.64),
        ("phased", "P2"): (68.10, 87.47, 60.98),
        ("phased", "P3"): (62.43, 84.90, 57.06),
        ("phased", "P4"): (66.97, 87.05, 60.51),
        ("multi_task", "P1"): (66.33, 86.90, 59.94),
        ("multi_task", "P2"): (68.73, 87.68, 61.29),
        ("multi_task", "P3"): (65.11, 86.05, 58.54),
        ("multi_task", "P4"): (67.60, 87.32, 60.84),
    }
)
"""By row and prompt; a row that the paper prints without a prompt has an empty one."""

TABLE2: Mapping[str, Printed] = MappingProxyType(
    {
        "Original": (68.73, 87.68, 61.29),
        "Union": (68.78, 87.83, 61.28),
        "Maximum": (68.79, 87.78, 61.29),
        "Weighted sum": (68.83, 87.78, 61.28),
        "Bayesian fusion": (68.67, 87.79, 61.22),
    }
)
