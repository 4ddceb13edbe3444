"""What the tables hold before they are written: every figure with its interval, and what it was measured on."""

from dataclasses import dataclass

from offline.paper.figure3 import Separation
from offline.paper.routed import Routed
from offline.paper.studies import Measured
from offline.statistics import Estimate


@dataclass(frozen=True)
class Line:
    """A line of Table 1.

    Attributes:
        row: `classifier`, or a row of `runs.ROW_NAMES`.
        label_share: share of the training videos whose labels were used; 0 where none are needed.
        measured: its figures; `name` is what the table calls it.
    """

    row: str
    label_share: float
    measured: Measured


@dataclass(frozen=True)
class Gain:
    """Relative gain in Max-F1 over videos of one model over another."""

    ours: str
    theirs: str
    gain: Estimate


@dataclass(frozen=True)
class Counted:
    """What an evaluation set holds."""

    name: str
    key: str
    videos: int
    of: int
    violations: int
    pairs: int
    pass_rate: float
    recall: float
    prevalence: float

    @classmethod
    def of_routed(cls, routed: Routed) -> "Counted":
        """Count a routed set."""
        guilty = [bool(video.truth) for video in routed.videos]
        return cls(
            name=routed.name,
            key=routed.key,
            videos=len(guilty),
            of=routed.total,
            violations=sum(guilty),
            pairs=sum(map(len, routed.asked)),
            pass_rate=routed.pass_rate,
            recall=routed.recall,
            prevalence=float(routed.weight[guilty].sum() / routed.weight.sum()),
        )


@dataclass(frozen=True)
class Model:
    """A model that was measured: its run, checkpoint and time."""

    name: str
    fingerprint: str
    minutes: float
    label_share: float


@dataclass(frozen=True)
class Results:
    """Everything that the report says.

    Attributes:
        best: name of the ranker of Table 2 and the studies, chosen on calibration traffic.
        fine_weight: of the weighted sum in Table 2, chosen there too.
        classifier_c: regularisation of the classifier with all labels and with few, chosen there too.
        separate: whether each template had a model of its own.
    """

    test: Counted
    calibration: Counted
    table1: tuple[Line, ...]
    table2: tuple[Measured, ...]
    temperature: tuple[Measured, ...]
    separations: tuple[Separation, ...]
    gains: tuple[Gain, ...]
    models: tuple[Model, ...]
    best: str
    fine_weight: float
    classifier_c: tuple[float, float]
    separate: bool
    minutes: float
    rounds: int
    training_videos: int
    encoder: str
    policy_hash: str
    command: str
