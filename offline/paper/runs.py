"""The trainings behind Table 1: what each starts from, what it is taught, and its part of the time. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from services.contracts import PromptName

DataSet = Literal["d1", "d2", "d3"]
Strategy = Literal["multi_task", "phased"]
Row = Literal["zero_shot", "caption", "phased", "multi_task"]
ALL_TEMPLATES: tuple[PromptName, ...] = ("P1", "P2", "P3", "P4")
FEW_LABELS = 0.02
"""Share of the training videos with labels in the second half of the table (Filter-And-Refine, abstract)."""

UNTUNED: tuple[PromptName, ...] = ("P2",)
"""How models without D3 are asked: the paper does not say how its zero-shot models are; this one is served."""

ROW_NAMES: Mapping[Row, str] = MappingProxyType(
    {
        "zero_shot": "LLaVA",
        "caption": "LLaVA w/ caption",
        "phased": "Mixed sequential phased learning",
        "multi_task": "Multi-task learning",
    }
)


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: of its folder.
        row: which row of Table 1 its model belongs to.
        share: of the minutes that a ranker gets beyond its start, in (0, 1].
        strategy: of the training; a phased one with a start is its last phase alone, D3.
        data: data sets that lessons are drawn from.
        templates: of D3's lessons; the model is asked in these ways.
        label_share: share of the training videos whose D3 labels are used.
        start: name of the run whose model it goes on from; None begins with random weights behind the trained tower, as
            only the first one does.
    """

    name: str
    row: Row
    share: float
    strategy: Strategy
    data: tuple[DataSet, ...]
    templates: tuple[PromptName, ...] = ALL_TEMPLATES
    label_share: float = 1.0
    start: str | None = None

    @property
    def asked(self) -> tuple[PromptName, ...]:
        """The templates in which its model is asked."""
        return self.templates if "d3" in self.data else UNTUNED


def runs(*, separate: bool = False) -> tuple[Run, ...]:
    """The trainings in an order in which each follows the one that it starts from.

    D1 alone gives the zero-shot model, which stands where the paper has a LLaVA that has learnt to see: all others
    go on from it. D1 and D2 from there give the one that can caption, and every phased model starts from that one. A
    phased and a multi-task ranker get the same time in all.

    Args:
        separate: one model for each template, which takes about three times as long; otherwise one model learns the
            lessons of all four and is asked in each way.
    """
    first = (
        Run("zero-shot", "zero_shot", 1.0, "multi_task", ("d1",)),
        Run("caption", "caption", 0.4, "multi_task", ("d1", "d2"), start="zero-shot"),
    )
    groups = tuple((each,) for each in ALL_TEMPLATES) if separate else (ALL_TEMPLATES,)
    everything: tuple[DataSet, ...] = ("d1", "d2", "d3")
    rest: list[Run] = []
    for label_share in (1.0, FEW_LABELS):
        for group in groups:
            end = ("-" + "".join(group).lower() if separate else "") + ("" if label_share == 1.0 else "-few")
            rest += [
                Run(f"phased{end}", "phased", 0.6, "phased", everything, group, label_share, "caption"),
                Run(f"multi-task{end}", "multi_task", 1.0, "multi_task", everything, group, label_share, "zero-shot"),
            ]
    return (*first, *rest)
