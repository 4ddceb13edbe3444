"""`winnow lab finetune`: the paper's ranker training on any LLaVA-family checkpoint."""

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from offline.finetune.recipe import LORA_MODULES, Lora, Precision, Recipe, Run, Strategy

app = typer.Typer()

FULL_RATE, LORA_RATE = 2e-5, 2e-4


@app.command()
def finetune(
    model: Annotated[str, typer.Argument(help="Checkpoint: a directory, or a hub id.")],
    datasets: Annotated[Path, typer.Argument(help="Folder of d1.jsonl, d2.jsonl and d3.jsonl.")],
    out: Annotated[Path, typer.Option(help="Folder of checkpoints, log, report and the exported model.")],
    strategy: Annotated[Strategy, typer.Option(help="Mix everything, or D1 and D2 first and then D3.")] = "multi_task",
    epochs: Annotated[int, typer.Option(min=1, help="Of each phase; the best by held-out loss is kept.")] = 3,
    lora: Annotated[int, typer.Option(min=0, help="Rank of the adapters; 0 trains the whole language model.")] = 0,
    lora_alpha: Annotated[float | None, typer.Option(help="Scale of the adapters; default: twice the rank.")] = None,
    lora_dropout: Annotated[float, typer.Option(min=0.0, max=0.99)] = 0.05,
    lora_modules: Annotated[str, typer.Option(help="Layers with adapters.")] = ",".join(LORA_MODULES),
    projector: Annotated[bool, typer.Option(help="Train the projector.")] = True,
    vision: Annotated[bool, typer.Option(help="Train the vision tower.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Samples of an optimizer step, over all processes.")] = 32,
    micro_batch: Annotated[int, typer.Option(min=1, help="Samples at a time in one process.")] = 1,
    learning_rate: Annotated[
        float | None, typer.Option(help=f"Default: {FULL_RATE:g}, with adapters {LORA_RATE:g}.")
    ] = None,
    warmup: Annotated[float, typer.Option(min=0.0, max=0.99, help="Share of a phase's steps.")] = 0.03,
    weight_decay: Annotated[float, typer.Option(min=0.0)] = 0.0,
    frames: Annotated[int, typer.Option(min=1, max=64, help="Most frames of a video, as served.")] = 4,
    short_side: Annotated[int, typer.Option(min=16, help="Of a frame, pixels, as served.")] = 336,
    jpeg_quality: Annotated[int, typer.Option(min=1, max=95, help="As served.")] = 90,
    precision: Annotated[Precision, typer.Option(help="Of the computation.")] = "bf16",
    held_out: Annotated[float, typer.Option(min=0.001, max=0.5, help="Share of the videos to test on.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    gradient_checkpointing: Annotated[bool, typer.Option(help="Less memory, a third more computation.")] = True,
    checkpoint_steps: Annotated[int, typer.Option(min=0, help="Steps between checkpoints; 0: epochs alone.")] = 500,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare samples.")] = 2,
    frame_cache: Annotated[Path | None, typer.Option(help="Folder of decoded frames; default: in OUT.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    every_phase: Annotated[bool, typer.Option("--every-phase", help="Export the first phase's model too.")] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Use no GPU.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
) -> None:
    """Fine-tune a LLaVA-family checkpoint on D1, D2 and D3 (Filter-And-Refine, section 4.3).

    Several GPUs: `accelerate launch --multi_gpu -m offline.finetune` with the same arguments.
    """
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    try:
        adapters = None
        if lora:
            modules = tuple(name.strip() for name in lora_modules.split(",") if name.strip())
            adapters = Lora(
                rank=lora, alpha=2.0 * lora if lora_alpha is None else lora_alpha, dropout=lora_dropout, modules=modules
            )
        rate = (LORA_RATE if lora else FULL_RATE) if learning_rate is None else learning_rate
        recipe = Recipe(
            strategy=strategy, epochs=epochs, batch=batch, lora=adapters, warmup=warmup, weight_decay=weight_decay,
            learning_rate=rate, train_projector=projector,
            train_vision=vision, frames=frames, short_side=short_side, jpeg_quality=jpeg_quality, precision=precision,
            held_out=held_out, seed=seed,
        )  # fmt: skip
        run = Run(
            micro_batch=micro_batch, workers=workers, checkpoint_steps=checkpoint_steps, cpu=cpu, resume=resume,
            gradient_checkpointing=gradient_checkpointing, every_phase=every_phase,
        )  # fmt: skip
        from offline.finetune.run import finetune as run_finetune

        run_finetune(model, datasets, out, recipe, run, console, revision=revision, frames=frame_cache)
    except ValidationError as error:
        told = [f"{error.title}.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise _refused("\n".join(told)) from error
    except ValueError as error:
        raise _refused(str(error)) from error


def _refused(message: str) -> typer.Exit:
    Console(stderr=True).print(message, style="red", markup=False, soft_wrap=True, highlight=False)
    return typer.Exit(1)
