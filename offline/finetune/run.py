"""A fine-tuning from the data sets to the exported checkpoint and its report, on one process or several."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType
from pydantic import BaseModel, ValidationError
from rich.console import Console

from offline.finetune.batches import EncodedSamples
from offline.finetune.checkpoints import Checkpoints, EpochResult, Position
from offline.finetune.data import Sample, hold_out, read_samples
from offline.finetune.evaluate import evaluate
from offline.finetune.export import export
from offline.finetune.frames import FrameCache, FrameSettings
from offline.finetune.log import StepLog
from offline.finetune.model import fingerprint_of, load_config, load_model, load_processor, training_dtype
from offline.finetune.prompting import SampleEncoder
from offline.finetune.recipe import PARTS, Recipe, Run, differences, phases
from offline.finetune.schedule import check_batch
from offline.finetune.train import Trainer

_ALONE_OR_COPIES = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


class Inputs(BaseModel):
    """What a training is made of; a resumed one must be made of the same."""

    recipe: Recipe
    model: str
    model_fingerprint: str
    datasets: dict[str, str]


class Report(BaseModel):
    """What came of a training.

    Attributes:
        inputs: of the training; `datasets` are hashes of the files.
        trained, held_out: samples of each data set.
        trained_weights: numbers that were trained.
        processes: that trained, in the last run.
        results: of every epoch.
        best: the epoch of each phase that was kept.
        exported: fingerprint of each exported checkpoint, by its folder.
        seconds: of training and evaluation.
    """

    inputs: Inputs
    trained: dict[str, int]
    held_out: dict[str, int]
    trained_weights: int
    processes: int
    results: tuple[EpochResult, ...]
    best: dict[str, int]
    exported: dict[str, str]
    seconds: float
    versions: dict[str, str]


def finetune(
    model: str,
    datasets: Path,
    out: Path,
    recipe: Recipe,
    run: Run,
    console: Console,
    *,
    revision: str | None = None,
    frames: Path | None = None,
) -> Report | None:
    """Fine-tune a checkpoint; the report, in the process that leads.

    Args:
        model: directory or hub id.
        datasets: folder of d1.jsonl, d2.jsonl and d3.jsonl.
        out: folder of checkpoints, log, report and the exported `model`; all processes must see it.
        recipe: what is trained, and how.
        run: how this machine does it.
        console: quiet in all processes but the leading one.
        revision: of a hub id.
        frames: folder of the cache of frames; `frames` in `out` if None.

    Raises:
        ValueError: an input is wrong, or the folder holds another training; the message says what to do.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    check_batch(recipe.batch, world)
    samples = read_samples(datasets)
    trained, held = hold_out(samples, recipe.held_out)
    config = load_config(model, revision)
    encoder = SampleEncoder(load_processor(model, revision), config)
    inputs = Inputs(
        recipe=recipe, model=model, model_fingerprint=fingerprint_of(model, config), datasets=_hashes(datasets)
    )
    checkpoints = Checkpoints(out / "checkpoints")
    position = _start(out, checkpoints, inputs, run)
    cache = FrameCache(frames or out / "frames", FrameSettings(recipe.frames, recipe.short_side, recipe.jpeg_quality))
    videos = sorted({sample.video for sample in samples})
    cache.fill(videos[rank::world], console, workers=run.workers)
    # Read by all processes above: not to be written before all have read it.
    accelerator = _accelerator(recipe, run)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (out / "inputs.json").write_text(inputs.model_dump_json(indent=2) + "\n", encoding="utf-8")
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    encoder.check(samples, lambda sample: cache.load(sample.video), longest)
    trainer = _trainer(accelerator, model, revision, recipe, run, encoder, cache, (trained, held), out, console)
    position = trainer.fit(position)
    if not accelerator.is_main_process:
        return None
    exported = {}
    for name, folder in _exports(recipe, run, out).items():
        export(model, revision, recipe, checkpoints.weights(position.best(name).checkpoint), folder)
        exported[folder.name] = fingerprint_of(str(folder), None)
        console.print(f"wrote {folder}")
    report = _report(inputs, trained, held, trainer, position, exported)
    (out / "report.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return report


def _start(out: Path, checkpoints: Checkpoints, inputs: Inputs, run: Run) -> Position:
    position = checkpoints.latest()
    if position is None:
        out.mkdir(parents=True, exist_ok=True)
        return Position()
    if not run.resume:
        raise ValueError(f"{out} holds a training already; go on with it by --resume, or choose another folder")
    path = out / "inputs.json"
    try:
        before = Inputs.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ValueError(f"{path} cannot be read; start again in another folder: {error}") from error
    # The fingerprint says which checkpoint it is, wherever it lies.
    old, new = (each.model_dump(mode="json", exclude={"model"}) for each in (before, inputs))
    told = differences(old, new)
    if told:
        raise ValueError(
            f"{out} holds another training; choose another folder, or the same options:\n" + "\n".join(told)
        )
    return position


def _accelerator(recipe: Recipe, run: Run) -> Accelerator:
    # Features of some layers of a vision tower are not used; buffers never change.
    copies = DistributedDataParallelKwargs(find_unused_parameters=recipe.train_vision, broadcast_buffers=False)
    # accelerate keeps its precision for the life of a process: autocast is ours.
    accelerator = Accelerator(cpu=run.cpu, mixed_precision="no", kwargs_handlers=[copies])
    if accelerator.distributed_type not in _ALONE_OR_COPIES:
        raise ValueError(
            f"a model that is split over processes ({accelerator.distributed_type.value}) is not supported; launch "
            "with data parallelism: accelerate launch --multi_gpu"
        )
    return accelerator


def _trainer(
    accelerator: Accelerator,
    name: str,
    revision: str | None,
    recipe: Recipe,
    run: Run,
    encoder: SampleEncoder,
    cache: FrameCache,
    samples: tuple[Sequence[Sample], Sequence[Sample]],
    out: Path,
    console: Console,
) -> Trainer:
    torch.manual_seed(recipe.seed)  # the adapters' beginning
    model = load_model(name, revision, recipe, dtype=training_dtype(recipe))
    encoder.adapt(model.config)
    if run.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [each for each in weights if each.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [each for each in weights if each.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
    )
    prepared, optimizer = accelerator.prepare(model, optimizer)
    trained, held = samples
    pad = encoder.pad
    evaluation = partial(
        evaluate, accelerator, accelerator.unwrap_model(prepared), EncodedSamples(held, cache, encoder), held,
        encoder.yes_no(), precision=recipe.precision, micro_batch=run.micro_batch, pad=pad, workers=run.workers,
    )  # fmt: skip
    return Trainer(
        accelerator=accelerator, model=prepared, optimizer=optimizer, samples=trained,
        encoded=EncodedSamples(trained, cache, encoder), evaluate=evaluation, pad=pad, recipe=recipe, run=run,
        checkpoints=Checkpoints(out / "checkpoints"),
        log=StepLog(out / "log.jsonl", written=accelerator.is_main_process), console=console,
    )  # fmt: skip


def _exports(recipe: Recipe, run: Run, out: Path) -> dict[str, Path]:
    """Folders of the phases whose best epochs are exported."""
    names = [phase.name for phase in phases(recipe.strategy)]
    first = {name: out / f"model-{name}" for name in names[:-1]} if run.every_phase else {}
    return {**first, names[-1]: out / "model"}


def _report(
    inputs: Inputs,
    trained: Sequence[Sample],
    held: Sequence[Sample],
    trainer: Trainer,
    position: Position,
    exported: dict[str, str],
) -> Report:
    import accelerate
    import transformers

    weights: Any = trainer.model.parameters()
    return Report(
        inputs=inputs,
        trained=dict(sorted(Counter(sample.part for sample in trained).items())),
        held_out=dict(sorted(Counter(sample.part for sample in held).items())),
        trained_weights=sum(each.numel() for each in weights if each.requires_grad),
        processes=trainer.accelerator.num_processes,
        results=position.results,
        best={phase.name: position.best(phase.name).epoch for phase in phases(inputs.recipe.strategy)},
        exported=exported,
        seconds=round(position.seconds, 3),
        versions={each.__name__: str(each.__version__) for each in (torch, transformers, accelerate)},
    )


def _hashes(datasets: Path) -> dict[str, str]:
    return {part: hashlib.sha256((datasets / f"{part}.jsonl").read_bytes()).hexdigest() for part in PARTS}
