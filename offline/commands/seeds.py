"""Commands about seeds: what the choice, the number and the kind of seeds are worth."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer()

Work = Annotated[Path, typer.Option(help="Folder for art, videos and what was seen.")]
Model = Annotated[Path | None, typer.Option(help="Model directory; default: the bundled router.")]
Violations = Annotated[int, typer.Option(min=1, help="Of the split `test`; written where there are fewer.")]
LookAlikes = Annotated[int, typer.Option(min=1)]
Others = Annotated[int, typer.Option(min=1)]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds of the bootstrap.")]
Out = Annotated[Path, typer.Option(help="Folder of the report.")]
SIZES = (16, 32, 64, 125, 250, 500)


@contextmanager
def _told() -> Iterator[None]:
    """Wrong input ends with a message and exit code 1."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@app.command("compare-seeds")
def compare_seeds(
    work: Work = Path("build/lab"),
    model: Model = None,
    seeds: Annotated[list[int] | None, typer.Option(min=1, help="Seeds an issue; may be given again.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Of the random choice.")] = 5,
    violations: Violations = 800,
    look_alikes: LookAlikes = 400,
    others: Others = 1000,
    rounds: Rounds = 1000,
    out: Out = Path("docs/results"),
) -> None:
    """Compare ways to choose seeds, at 16 to 500 an issue; writes selection.md, selection.json and a plot."""
    from offline.demo_world.splits import Counts
    from offline.selection.compare_seeds import compare_seeds as compare
    from offline.selection.seeds_report import write
    from offline.selection.world import World
    from offline.stages import ROUTER_MODEL, SEED_FRAMES, SHORT_SIDE

    console = Console()
    with _told():
        world = World(work, model or ROUTER_MODEL, console, seed_frames=SEED_FRAMES, short_side=SHORT_SIDE)
        counts = Counts(violations, look_alikes, others)
        found = compare(world, console, sizes=seeds or SIZES, counts=counts, draws=draws, rounds=rounds)
        command = "winnow lab compare-seeds" + "".join(f" --seeds {size}" for size in seeds or ())
        console.print(f"wrote {write(found, command, out)}", markup=False, highlight=False, soft_wrap=True)


@app.command("compare-kinds")
def compare_kinds(
    work: Work = Path("build/lab"),
    model: Model = None,
    seeds: Annotated[int, typer.Option(min=1, help="Golden seeds an issue, and nearest look-alikes an issue.")] = 16,
    violations: Violations = 800,
    look_alikes: LookAlikes = 400,
    others: Others = 1000,
    rounds: Rounds = 1000,
    out: Out = Path("docs/results"),
) -> None:
    """Measure negative seeds, violations that show in one frame, and text seeds; writes kinds.md and kinds.json."""
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    from offline.demo_world.splits import Counts
    from offline.selection.banks import IDS
    from offline.selection.kinds_report import Kinds, write
    from offline.selection.negatives import negatives
    from offline.selection.one_frame import one_frame
    from offline.selection.reuploads import reuploads
    from offline.selection.texts import texts
    from offline.selection.world import World
    from offline.stages import ROUTER_MODEL, SEED_FRAMES, SHORT_SIDE
    from services.encoder.open_clip import load_encoder

    console, directory = Console(), model or ROUTER_MODEL
    with _told():
        world = World(work, directory, console, seed_frames=SEED_FRAMES, short_side=SHORT_SIDE)
        counts, encoder = Counts(violations, look_alikes, others), load_encoder(str(directory))
        traffic = world.traffic(world.rows("test", counts), "embedding test")
        known, pool = world.calibration(), world.bank(seeds)
        places = {issue: pool.of(issue)[:seeds] for issue in IDS}
        golden = pool.bank(places)
        found = Kinds(
            encoder.fingerprint, seeds, counts,
            negatives(world, known, traffic, golden, count=seeds, rounds=rounds),
            reuploads(world, known, traffic, golden, rounds=rounds),
            one_frame(world, traffic, pool, places, rounds=rounds),
            texts(world, encoder, directory, traffic, golden, rounds=rounds) if encoder.supports_text else None,
        )  # fmt: skip
        command = "winnow lab compare-kinds" + (f" --seeds {seeds}" if seeds != 16 else "")
        console.print(f"wrote {write(found, command, out)}", markup=False, highlight=False, soft_wrap=True)
