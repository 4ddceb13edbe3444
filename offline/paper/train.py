"""Trains the runs behind Table 1 that are missing, one after the other; each goes on where it was stopped."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from offline.paper.runs import Run
from services.policy import Policy


@dataclass(frozen=True)
class Trained:
    """A model that is ready: its checkpoint, its tokenizer, and 16 hex digits over the checkpoint."""

    run: Run
    checkpoint: Path
    tokenizer: Path
    fingerprint: str
    minutes: float


@dataclass(frozen=True)
class Sources:
    """What every training reads.

    Attributes:
        art: folder of the sprites.
        dense: checkpoint of the tower.
        features: folder of the cache of training features.
        router: model directory of the router, on the same tower.
        videos: training videos.
        seed: of the training videos and of the lessons.
    """

    art: Path
    dense: Path
    features: Path
    router: Path
    videos: int
    seed: int


def train_missing(
    runs: Sequence[Run], sources: Sources, folder: Path, policy: Policy, minutes: float, console: Console
) -> dict[str, Trained]:
    """Models of all runs, by name.

    A run whose settings, tower or start have changed since it was trained is trained anew.

    Args:
        runs: each after the one that it starts from.
        sources: see there.
        folder: a folder in it for each run.
        policy: names the issues and their definitions.
        minutes: wall time of one training; a run gets its share.
        console: shows the progress.
    """
    tower = _digest(sources.dense)
    done: dict[str, Trained] = {}
    for number, run in enumerate(runs, start=1):
        own = folder / run.name
        start = None if run.start is None else done[run.start]
        wanted = _settings(run, minutes, tower, None if start is None else start.fingerprint, sources)
        if _recorded(own / "run.json") not in (None, wanted):
            console.print(f"{run.name}: its settings or its start have changed; it is trained anew")
            shutil.rmtree(own)
        own.mkdir(parents=True, exist_ok=True)
        (own / "run.json").write_text(json.dumps(wanted, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        checkpoint = own / "ranker.pt"
        if not (own / "done").exists():
            console.print(f"run {number} of {len(runs)}: {run.name}, {run.share * minutes:.1f} min")
            checkpoint = _train(run, sources, own, policy, run.share * minutes, start, console)
            (own / "done").touch()
        done[run.name] = Trained(run, checkpoint, own / "tokenizer", _digest(checkpoint), run.share * minutes)
    return done


def _train(
    run: Run, sources: Sources, own: Path, policy: Policy, minutes: float, start: Trained | None, console: Console
) -> Path:
    from offline.training.ranker import train_ranker
    from offline.training.ranker_recipe import RankerRecipe

    recipe = RankerRecipe(
        minutes=minutes,
        strategy=run.strategy,
        templates=run.templates,
        label_share=run.label_share,
        data=run.data,
        start=None if start is None else start.checkpoint,
        videos=sources.videos,
        seed=sources.seed,
    )
    return train_ranker(
        sources.art, sources.dense, own, policy, recipe, console, features=sources.features, router=sources.router
    )


def _settings(run: Run, minutes: float, tower: str, start: str | None, sources: Sources) -> Mapping[str, object]:
    fields = {**asdict(run), "data": list(run.data), "templates": list(run.templates)}
    del fields["row"]
    return {
        **fields,
        "minutes": run.share * minutes,
        "tower": tower,
        "start_fingerprint": start,
        "videos": sources.videos,
        "seed": sources.seed,
    }


def _recorded(path: Path) -> Mapping[str, object] | None:
    if not path.exists():
        return None
    found: Mapping[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
