"""Figures for the lab's reports: one restrained style, drawn without a display."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
COLOURS = ("#1f4e79", "#c55a11", "#548235", "#7f6000", "#7030a0", "#808080", "#bf2f5b", "#2e8b9a")


def figure(*, width: float = 6.0, height: float = 4.0) -> "tuple[Figure, Axes]":
    """An empty figure and its only axes; sizes in inches. Needs no display and keeps no state."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")  # a figure of its own draws with Agg
    axes = drawn.add_subplot()
    style(axes)
    return drawn, axes


def style(axes: "Axes") -> None:
    """The colours, the grid and the frame that all figures share."""
    axes.set_prop_cycle(color=COLOURS)
    axes.grid(visible=True, color="#e0e0e0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(drawn: "Figure", path: Path) -> Path:
    """Write the figure as PNG of 120 dots an inch, the same bytes for the same figure; gives the path back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=DPI, format="png", metadata={"Software": None})
    return path
