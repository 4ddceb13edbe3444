"""Whole fine-tunings on toy videos: what is learnt, what is exported, and that a run that was cut short goes on."""

import asyncio
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from offline.finetune.data import Sample
from offline.finetune.evaluate import Seen, summarise
from offline.finetune.export import published
from offline.finetune.frames import FrameCache, Frames
from offline.finetune.model import load_model, load_processor, load_trained
from offline.finetune.prompting import SampleEncoder
from offline.finetune.recipe import Lora, Recipe, Run
from offline.finetune.run import Report, finetune
from ranker_svc.answers import p_yes
from ranker_svc.engines.protocol import FrameImage
from ranker_svc.engines.reference import ReferenceEngine
from ranker_svc.settings import bundled_model
from services.deadline import Deadline
from tests.integration.offline.finetune.conftest import FAMILIES
from tests.integration.offline.finetune.toy_sets import FINE, OVERALL

RECIPE = Recipe(
    epochs=2, batch=4, learning_rate=1e-3, warmup=0.1, frames=3, short_side=32, held_out=0.3, precision="fp32", seed=1
)
LORA = Lora(rank=4, alpha=8.0, dropout=0.2)
RUN = Run(micro_batch=2, workers=0, checkpoint_steps=2, gradient_checkpointing=False, cpu=True)
PROMPTS = (FINE, OVERALL)
PHASES = ("instruction", "moderation")


def tune(
    out: Path, model: str | Path, sets: Path, cache: FrameCache, recipe: Recipe, run: Run = RUN, **more: Any
) -> Report:
    console = more.pop("console", None) or Console(file=io.StringIO(), width=200)
    report = finetune(str(model), sets, out, recipe, run, console, frames=cache.folder, **more)
    assert report is not None
    return report


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def served(folder: Path, frames: Frames) -> list[float]:
    """p(Yes) of the exported checkpoint in the ranker's reference engine."""
    engine = ReferenceEngine(str(folder), max_frames=4)
    sent = [FrameImage(b"", image, time) for image, time in zip(frames.images, frames.times_s, strict=True)]

    async def ask() -> Sequence[float]:
        await engine.start()
        try:
            return [p_yes(each) for each in (await engine.answer(sent, PROMPTS, Deadline.after(60.0))).answers]
        finally:
            await engine.close()

    return list(asyncio.run(ask()))


@torch.no_grad()
def trained(model: str | Path, recipe: Recipe, weights: dict[str, torch.Tensor], frames: Frames) -> list[float]:
    """p(Yes) of the model with its adapters, as it was trained."""
    loaded = load_model(str(model), None, recipe, dtype=torch.float32).eval()
    load_trained(loaded, weights)
    encoder = SampleEncoder(load_processor(str(model), None), loaded.config)
    encoder.adapt(loaded.config)
    yes, no = encoder.yes_no()
    found = []
    for prompt in PROMPTS:
        encoded = encoder.encode(frames, Sample("", Path(), "", prompt, "Yes", "d3"))
        types = {} if encoded.token_types is None else {"mm_token_type_ids": torch.tensor([encoded.token_types])}
        logits = loaded(input_ids=torch.tensor([encoded.ids[:-1]]), **encoded.vision, **types).logits[0, -1]
        found.append(float(torch.sigmoid(logits[yes].logsumexp(0) - logits[no].logsumexp(0))))
    return found


def best_weights(out: Path, report: Report, phase: str) -> dict[str, torch.Tensor]:
    (name,) = [each.checkpoint for each in report.results if (each.phase, each.epoch) == (phase, report.best[phase])]
    return load_file(out / "checkpoints" / name / "weights.safetensors")


@pytest.fixture(scope="module")
def phased(tmp_path_factory: pytest.TempPathFactory, toy_sets: Path, cache: FrameCache) -> tuple[Path, Report]:
    """The bundled ranker, trained whole in two phases."""
    out = tmp_path_factory.mktemp("phased") / "out"
    recipe = RECIPE.model_copy(update={"strategy": "phased", "epochs": 3})
    return out, tune(out, bundled_model(), toy_sets, cache, recipe, replace(RUN, every_phase=True))


def test_the_bundled_ranker_learns(phased: tuple[Path, Report]) -> None:
    out, report = phased
    phases = [(each.phase, each.epoch) for each in report.results]
    assert phases == [("instruction", 0), *[(name, epoch) for name in PHASES for epoch in (1, 2, 3)]]
    before, *_, after = report.results
    # The bundled ranker begins at a guess, ln 2: it has seen no such videos.
    assert after.losses["d3"] < before.losses["d3"] * 0.75
    assert after.roc_auc == 1.0
    instructed = report.results[3]
    assert instructed.losses["d1"] < before.losses["d1"]
    assert instructed.losses["d2"] < before.losses["d2"]
    assert instructed.held_out_loss == pytest.approx((instructed.losses["d1"] + instructed.losses["d2"]) / 2)
    assert Report.model_validate_json((out / "report.json").read_bytes()) == report
    assert (report.trained, report.held_out) == ({"d1": 6, "d2": 6, "d3": 12}, {"d1": 3, "d2": 3, "d3": 6})


def test_every_step_is_logged(phased: tuple[Path, Report]) -> None:
    out, report = phased
    steps = [(each["phase"], each["epoch"], each["step"]) for each in log_of(out)]
    # 12 samples in batches of 4, three epochs, in both phases.
    assert steps == [(p, e, s) for p in PHASES for e in (1, 2, 3) for s in (1, 2, 3)]
    rates = [each["learning_rate"] for each in log_of(out)]
    assert rates[0] == rates[9] == max(rates) == 1e-3
    assert rates[:9] == sorted(rates[:9], reverse=True)
    last = [each["loss"] for each in log_of(out)[-3:]]
    assert report.results[-1].train_loss == pytest.approx(sum(last) / 3)


def test_the_last_phase_begins_where_the_first_was_best(phased: tuple[Path, Report]) -> None:
    out, report = phased
    names = {path.name for path in (out / "checkpoints").iterdir()}
    assert names == {each.checkpoint for each in report.results if report.best.get(each.phase) == each.epoch} | {
        report.results[-1].checkpoint
    }
    assert set(report.exported) == {"model", "model-instruction"}
    assert report.exported["model"] != report.exported["model-instruction"]


def test_the_export_is_a_checkpoint_of_the_same_family(
    phased: tuple[Path, Report], cache: FrameCache, samples: list[Sample]
) -> None:
    out, report = phased
    before, after = Path(bundled_model()), out / "model"
    old, new = load_file(before / "model.safetensors"), load_file(after / "model.safetensors")
    assert {name: (each.shape, each.dtype) for name, each in old.items()} == {
        name: (each.shape, each.dtype) for name, each in new.items()
    }
    # The tower stays, the language model and the projector do not.
    changed = {name for name, each in old.items() if not torch.equal(each, new[name])}
    assert changed
    assert not any("vision" in name for name in changed)
    assert any("multi_modal_projector" in name for name in changed)
    assert (before / "chat_template.jinja").read_text() == (after / "chat_template.jinja").read_text()
    assert not (after / "calibrators").exists()
    for video in (samples[0].video, samples[1].video):
        frames = cache.load(video)
        expected = trained(before, RECIPE, best_weights(out, report, "moderation"), frames)
        # The export is float16, as the bundled checkpoint is.
        assert served(after, frames) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_adapters_are_merged_into_any_family(
    family: str,
    checkpoints: Callable[[str], Path],
    toy_sets: Path,
    cache: FrameCache,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    folder = checkpoints(family)
    recipe = RECIPE.model_copy(update={"lora": LORA, "epochs": 1, "learning_rate": 5e-3})
    report = tune(tmp_path / "out", folder, toy_sets, cache, recipe, replace(RUN, gradient_checkpointing=True))
    frames = cache.load(samples[0].video)
    weights = best_weights(tmp_path / "out", report, "multi_task")
    assert all(".lora_" in name or "modules_to_save" in name for name in weights)
    assert not any("vision_tower" in name for name in weights)
    answers = served(tmp_path / "out" / "model", frames)
    assert answers == pytest.approx(trained(folder, recipe, weights, frames), abs=1e-4)
    assert max(abs(a - b) for a, b in zip(answers, served(folder, frames), strict=True)) > 0.01
    config = json.loads((tmp_path / "out" / "model" / "config.json").read_text())
    original = json.loads((folder / "config.json").read_text())
    assert config.get("image_grid_pinpoints") == original.get("image_grid_pinpoints")


def test_bfloat16_with_adapters_and_a_frozen_projector(toy_sets: Path, cache: FrameCache, tmp_path: Path) -> None:
    change = {"lora": LORA, "precision": "bf16", "train_projector": False, "epochs": 1}
    report = tune(tmp_path / "out", bundled_model(), toy_sets, cache, RECIPE.model_copy(update=change))
    weights = best_weights(tmp_path / "out", report, "multi_task")
    assert {each.dtype for each in weights.values()} == {torch.float32}
    assert all(".lora_" in name for name in weights)
    old, new = (
        load_file(folder / "model.safetensors") for folder in (Path(bundled_model()), tmp_path / "out" / "model")
    )
    changed = {name for name, each in old.items() if not torch.equal(each, new[name])}
    assert changed
    assert all(name.startswith("language_model.model.layers") for name in changed)


class Dying(io.StringIO):
    """A terminal that dies when it is told of some progress."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self._word = word

    def write(self, text: str) -> int:
        if self._word in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.fixture(scope="module")
def uncut(
    checkpoints: Callable[[str], Path], toy_sets: Path, cache: FrameCache, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Report]:
    out = tmp_path_factory.mktemp("uncut") / "out"
    recipe = RECIPE.model_copy(update={"strategy": "phased", "lora": LORA})
    return out, tune(out, checkpoints("llava"), toy_sets, cache, recipe)


@pytest.mark.parametrize("when", ["epoch 1: training loss", "moderation, epoch 2: training loss", "wrote"])
def test_a_run_that_was_cut_short_ends_as_if_it_had_not_been(
    when: str,
    uncut: tuple[Path, Report],
    checkpoints: Callable[[str], Path],
    toy_sets: Path,
    cache: FrameCache,
    tmp_path: Path,
) -> None:
    folder, (out, whole) = checkpoints("llava"), uncut
    recipe = whole.inputs.recipe
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "cut", folder, toy_sets, cache, recipe, console=Console(file=Dying(when), width=200))
    with pytest.raises(ValueError, match="go on with it by --resume"):
        tune(tmp_path / "cut", folder, toy_sets, cache, recipe)
    told = io.StringIO()
    run = replace(RUN, resume=True)
    resumed = tune(tmp_path / "cut", folder, toy_sets, cache, recipe, run, console=Console(file=told, width=200))
    assert "resuming from phase" in told.getvalue()
    losses = [[(each["phase"], each["epoch"], each["step"], each["loss"]) for each in log_of(path)]
              for path in (out, tmp_path / "cut")]  # fmt: skip
    assert losses[0] == losses[1]
    assert resumed.results == whole.results
    assert resumed.exported == whole.exported


def test_another_recipe_cannot_go_on(phased: tuple[Path, Report], toy_sets: Path, cache: FrameCache) -> None:
    out, report = phased
    recipe = report.inputs.recipe.model_copy(update={"learning_rate": 2e-3, "lora": LORA})
    with pytest.raises(ValueError, match="holds another training") as raised:
        tune(out, bundled_model(), toy_sets, cache, recipe, replace(RUN, resume=True))
    assert "recipe.learning_rate: 0.001 before, 0.002 now" in str(raised.value)
    assert "recipe.lora: None before, " in str(raised.value)
    assert "epochs" not in str(raised.value)


def test_a_micro_batch_changes_rounding_alone(
    checkpoints: Callable[[str], Path], toy_sets: Path, cache: FrameCache, tmp_path: Path
) -> None:
    recipe, losses = RECIPE.model_copy(update={"epochs": 1}), []
    for size in (1, 4):
        run = replace(RUN, micro_batch=size)
        tune(tmp_path / str(size), checkpoints("llava"), toy_sets, cache, recipe, run)
        losses.append([each["loss"] for each in log_of(tmp_path / str(size))])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert len(set(losses[0])) == 6


def test_areas_are_of_the_answers_to_d3() -> None:
    rows = [("d1", "x"), ("d3", "Yes"), ("d3", "No"), ("d3", "No"), ("d3", "Yes")]
    samples = [Sample("", Path(), "", "", answer, part) for part, answer in rows]  # type: ignore[arg-type]
    seen = [Seen(i, loss, margin) for i, (loss, margin) in enumerate([(4, 9), (1, 2), (2, 1), (3, -1), (2, 0)])]
    found = summarise(samples, seen)
    assert found.losses == {"d1": 4.0, "d3": 2.0}
    assert found.loss(("d1", "d3")) == pytest.approx(12 / 5)
    assert found.roc_auc == 0.75
    assert found.pr_auc == pytest.approx((1 + 2 / 3) / 2)
    assert summarise(samples[:2], seen[:2]).roc_auc is None


def test_published_names() -> None:
    assert published("vision_tower.encoder.x") == "vision_tower.vision_model.encoder.x"
    assert published("vision_tower.vision_model.x") == "vision_tower.vision_model.x"
    assert published("language_model.model.x") == "language_model.model.x"
