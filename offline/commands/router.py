"""Commands about the router: which recipe finds what, and fine-tuning of any open_clip checkpoint."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer()

Work = Annotated[Path, typer.Option(help="Folder for art, videos, features and checkpoints.")]


@app.command("compare-router")
def compare_router(
    work: Work = Path("build/lab"),
    model: Annotated[Path | None, typer.Option(help="Model directory; default: the bundled router.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(min=1, help="Seeds an issue; may be given again.")] = None,
    violations: Annotated[int, typer.Option(min=1, help="Of a test split that has not been written.")] = 800,
    look_alikes: Annotated[int, typer.Option(min=1)] = 2000,
    others: Annotated[int, typer.Option(min=1)] = 4000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the bootstrap.")] = 1000,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("docs/results"),
) -> None:
    """Compare ways to route on both test splits; writes router.md, router.json and plots."""
    from offline.demo_world.splits import Counts
    from offline.router.compare import compare
    from offline.router.report import write
    from offline.stages import ROUTER_MODEL, SEED_FRAMES, SHORT_SIDE

    console = Console()
    numbers = seeds or [16, 64]
    command = "winnow lab compare-router" + "".join(f" --seeds {n}" for n in numbers if seeds)
    try:
        found = compare(
            work, model or ROUTER_MODEL, console, seeds=numbers, counts=Counts(violations, look_alikes, others),
            seed_frames=SEED_FRAMES, short_side=SHORT_SIDE, rounds=rounds,
        )  # fmt: skip
    except (ValueError, OSError, RuntimeError) as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(1) from error
    console.print(f"wrote {write(found, command, out)}")


@app.command("finetune-router")
def finetune_router(
    model: Annotated[str, typer.Argument(help="A model directory, `hf-hub:...`, or an open_clip name.")],
    manifest: Annotated[Path, typer.Option(help="Labelled videos, JSONL or CSV.")],
    out: Annotated[Path, typer.Option(help="Folder of the new model; a run that was stopped there goes on.")],
    pretrained: Annotated[str | None, typer.Option(help="Tag of the weights, for an open_clip name.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits of the manifest to learn from; default: all.")] = None,
    head: Annotated[str, typer.Option(help="keep the model's, a new one, or none: the image embedding.")] = "keep",
    layers: Annotated[
        int, typer.Option(min=-1, help="Last groups of the image tower that learn: projection, blocks; -1: all.")
    ] = 2,
    steps: Annotated[int, typer.Option(min=1)] = 1000,
    batch: Annotated[int, typer.Option(min=4, help="Frames that are contrasted with each other.")] = 64,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches whose gradients make one step.")] = 1,
    tower_rate: Annotated[float, typer.Option(min=0, help="Learning rate of the model's own layers.")] = 1e-5,
    head_rate: Annotated[float, typer.Option(min=0, help="Learning rate of the head and the proxies.")] = 1e-3,
    captions: Annotated[float, typer.Option(min=0, help="Weight of the contrast with captions; 0: none.")] = 0.0,
    frames: Annotated[int, typer.Option(min=1, help="Of each labelled shot or video.")] = 4,
    held_out: Annotated[float, typer.Option(min=0, max=0.5, help="Share of the videos kept to examine on.")] = 0.1,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = False,
    half: Annotated[bool, typer.Option(help="Write the weights in float16.")] = False,
    device: Annotated[str, typer.Option(help="E.g. cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare frames.")] = 2,
    seed: int = 7,
) -> None:
    """Fine-tune any open_clip checkpoint on labelled videos, for the router to load."""
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from offline.manifest import read_manifest
    from offline.router.finetune import finetune
    from offline.router.lessons import FinetuneRecipe
    from offline.router.tower import Learning
    from offline.stages import SHORT_SIDE

    console = Console()
    recipe = FinetuneRecipe(
        steps=steps, batch=batch, accumulate=accumulate, tower_rate=tower_rate, head_rate=head_rate,
        caption_weight=captions, frames=frames, held_out=held_out, bf16=bf16, seed=seed,
    )  # fmt: skip
    try:
        learning = Learning(groups=layers, head=head)  # type: ignore[arg-type]
        rows = read_manifest(manifest, splits=split)
        finetune(
            model, pretrained, rows, out, learning, recipe, console, device=device, short_side=SHORT_SIDE,
            workers=workers, half=half,
        )  # fmt: skip
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(1) from error
    console.print(f"wrote {out}; fit the background and the thresholds to it before it is served")
