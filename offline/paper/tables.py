"""`winnow lab tables`: trains what is missing, asks every model about routed traffic, and writes the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from offline.demo_world.splits import MIX
from offline.manifest import read_manifest, traffic_weights
from offline.paper.classifier import chosen_probe, probe_scores, training_examples
from offline.paper.figure3 import draw, separation
from offline.paper.measures import ROUNDS, Population
from offline.paper.report import FIGURE, write
from offline.paper.results import Counted, Model, Results
from offline.paper.routed import Routed, Tower, routed_traffic
from offline.paper.routing import Router
from offline.paper.runs import FEW_LABELS, ROW_NAMES, runs
from offline.paper.studies import chosen_weight, table2, temperature_study
from offline.paper.table1 import Scored, best_of, gains, score_all, table1
from offline.paper.train import Sources, Trained, train_missing
from services.policy import Policy


@dataclass(frozen=True)
class Plan:
    """What the command was asked for.

    Attributes:
        work: the lab's folder: art, videos/test, videos/calibration, router/dense.pt and features are read from it.
        router_model: directory of the served encoder, with its background.
        seeds: manifest of the seed bank.
        out: folder of the report.
        minutes: wall time of one training.
        separate: a model for each template.
        videos: training videos.
        seed: of them.
        rounds: of the bootstrap.
    """

    work: Path
    router_model: Path
    seeds: Path
    out: Path
    minutes: float
    separate: bool = False
    videos: int = 12000
    seed: int = 11
    rounds: int = ROUNDS

    @property
    def dense(self) -> Path:
        """Checkpoint of the tower."""
        return self.work / "router" / "dense.pt"

    @property
    def folder(self) -> Path:
        """Where checkpoints, routed sets and answers are kept."""
        return self.work / "paper"


def make_tables(plan: Plan, policy: Policy, console: Console) -> tuple[Path, Path]:
    """Run the whole study, or what is left of it, and write tables.md, tables.json and figure3.png.

    Raises:
        ValueError: something that it needs is missing; the message says which command makes it.
    """
    _check(plan)
    from offline.demo_world.art import Art
    from offline.paper.rankers import Asker
    from offline.training.clip_model import load_training_checkpoint
    from offline.training.vocabulary import Classes

    sources = Sources(plan.work / "art", plan.dense, plan.work / "features", plan.router_model, plan.videos, plan.seed)
    planned = runs(separate=plan.separate)
    trained = train_missing(planned, sources, plan.folder / "runs", policy, plan.minutes, console)
    test, calibration, encoder = _routed(plan, policy, next(iter(trained.values())), console)
    classifiers, classifier_c = _classifiers(plan, policy, sources, test, calibration, console)
    clip, _ = load_training_checkpoint(plan.dense)
    tower = clip.state_dict()
    classes = Classes.of_art(Art(sources.art))
    askers = {name: Asker(model, classes, tower, console) for name, model in trained.items()}
    answers = plan.folder / "answers"
    on_test = {name: asker.answers(test, policy, answers) for name, asker in askers.items()}
    on_calibration = {name: asker.answers(calibration, policy, answers) for name, asker in askers.items()}
    console.print("measuring")
    truth = Population.of(test)
    scored = score_all(planned, on_test, on_calibration, policy)
    best: Scored = best_of(scored, share=1.0, prompt="P2")
    name = best.run.name
    fine_weight = chosen_weight(on_calibration[name], policy)
    spaces = [
        askers[each].space(test, policy, title)
        for each, title in (("zero-shot", ROW_NAMES["zero_shot"]), ("caption", ROW_NAMES["caption"]), (name, best.name))
    ]
    results = Results(
        test=Counted.of_routed(test),
        calibration=Counted.of_routed(calibration),
        table1=tuple(table1(scored, classifiers, truth, plan.rounds)),
        table2=tuple(table2(on_test[name], policy, fine_weight, rounds=plan.rounds)),
        temperature=tuple(temperature_study(on_test[name], policy, rounds=plan.rounds)),
        separations=tuple(
            separation(s, truth.guilty, truth.weight, truth.strata, rounds=plan.rounds) for s in spaces
        ),
        gains=tuple(gains(scored, classifiers, truth, plan.rounds)),
        models=tuple(Model(m.run.name, m.fingerprint, m.minutes, m.run.label_share if "d3" in m.run.data else 0.0)
                     for m in trained.values()),
        best=name,
        fine_weight=fine_weight,
        classifier_c=classifier_c,
        separate=plan.separate,
        minutes=plan.minutes,
        rounds=plan.rounds,
        training_videos=plan.videos,
        encoder=encoder,
        policy_hash=policy.slice(None).policy_hash,
        command=f"winnow lab tables --minutes {plan.minutes:g}" + (" --separate" if plan.separate else ""),
    )  # fmt: skip
    draw(spaces, truth.guilty, plan.out / FIGURE)
    return write(results, plan.out)


def _check(plan: Plan) -> None:
    needed = {
        plan.work / "art": "winnow lab world",
        plan.dense: "winnow lab train-router",
        plan.router_model / "background.json": "winnow lab fit-router",
        plan.seeds: "winnow lab bundle",
        plan.work / "videos" / "test" / "manifest.jsonl": "winnow lab world --split test",
        plan.work / "videos" / "calibration" / "manifest.jsonl": "winnow lab world --split calibration",
    }
    missing = [f"{path} is missing: `{command}` makes it" for path, command in needed.items() if not path.exists()]
    if missing:
        raise ValueError("\n".join(missing))


def _routed(plan: Plan, policy: Policy, any_model: Trained, console: Console) -> tuple[Routed, Routed, str]:
    """Routed test and calibration traffic, and the encoder's fingerprint."""
    from transformers import PreTrainedTokenizerFast

    from offline.fit import embed_seeds, read_seeds
    from offline.stages import JPEG_QUALITY, RANK_FRAMES, SEED_FRAMES, SHORT_SIDE
    from offline.training.clip_model import load_training_checkpoint
    from offline.training.features import tower_hash
    from offline.training.ranker_model import processor
    from services.encoder.open_clip import load_encoder
    from services.scoring import Background

    encoder = load_encoder(str(plan.router_model))
    background = Background.load(plan.router_model / "background.json")
    if background.encoder != encoder.fingerprint:
        raise ValueError(f"the background in {plan.router_model} is of another encoder: run `winnow lab fit-router`")
    bank = embed_seeds(encoder, read_seeds(plan.seeds), frames=SEED_FRAMES, short_side=SHORT_SIDE)
    router = Router(encoder, bank, background, policy.slice(None), RANK_FRAMES, SHORT_SIDE, SEED_FRAMES)
    clip, _ = load_training_checkpoint(plan.dense)
    image_processor: Any = processor(PreTrainedTokenizerFast.from_pretrained(any_model.tokenizer)).image_processor
    tower = Tower(clip, image_processor, JPEG_QUALITY, tower_hash(clip))
    issues = {issue.id for issue in policy.slice(None).issues}

    def routed(split: str) -> Routed:
        rows = read_manifest(plan.work / "videos" / split / "manifest.jsonl", issues=issues, splits=[split])
        weight = traffic_weights(rows, {str(kind): share for kind, share in MIX.items()})
        return routed_traffic(split, rows, weight, router, tower, plan.folder / "routed", console)

    return routed("test"), routed("calibration"), encoder.fingerprint


def _classifiers(
    plan: Plan, policy: Policy, sources: Sources, test: Routed, calibration: Routed, console: Console
) -> tuple[list[tuple[float, Any]], tuple[float, float]]:
    """Scores of the classifier with all labels and with few, by share, and the C of each."""
    issues = [issue.id for issue in policy.slice(None).issues]
    examples, labels = training_examples(sources, plan.router_model, issues, console)
    out, chosen = [], []
    for share in (1.0, FEW_LABELS):
        count = max(1, round(share * plan.videos))
        probe, c = chosen_probe(examples.head(count), labels[:count], calibration, issues)
        out.append((share, probe_scores(probe, test, issues)))
        chosen.append(c)
    return out, (chosen[0], chosen[1])
