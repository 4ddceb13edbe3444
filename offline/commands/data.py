"""Commands that make, check, split and prepare labelled videos."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.console import Console
from rich.table import Table

from offline.demo_world.splits import DEFAULT_SEED, FULL, SPLITS, Counts
from offline.demo_world.variants import PLAIN, VARIANTS
from offline.manifest import ManifestError, read_manifest, write_manifest
from services.contracts import PromptName
from services.policy import default_policy_path, load_policy

app = typer.Typer()

Manifest = Annotated[Path, typer.Argument(help="Labelled videos, JSONL or CSV.")]
PolicyFile = Annotated[Path | None, typer.Option(help="Policy whose issues the labels name; the bundled one if none.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that decode.")]
Seed = Annotated[int, typer.Option(min=0, help="Of every choice.")]


@contextmanager
def _told() -> Iterator[None]:
    """Wrong input ends with a message and exit code 1."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def _one_of(what: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is no {what}; there are {', '.join(known)}")


@app.command()
def world(
    split: Annotated[str, typer.Option(help=f"One of {', '.join(SPLITS)}.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder; default: videos/SPLIT in the work folder.")] = None,
    violations: Annotated[int, typer.Option(min=0)] = 240,
    look_alikes: Annotated[int, typer.Option(min=0)] = 400,
    others: Annotated[int, typer.Option(min=0)] = 1000,
    full: Annotated[bool, typer.Option("--full", help="As many videos as the split has in full.")] = False,
    variant: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(VARIANTS)}; repeatable.")] = None,
    variants: Annotated[bool, typer.Option("--variants", help="Every scene in every variant.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = DEFAULT_SEED,
    workers: Workers = 2,
    work: Annotated[Path, typer.Option(help="Folder for art and videos.")] = Path("build/lab"),
) -> None:
    """Write the videos and the manifest of a split; goes on where it was stopped.

    Variants of a split go to the folder videos/SPLIT-variants.
    """
    _one_of("split", [split], list(SPLITS))
    names = list(VARIANTS) if variants else list(dict.fromkeys(variant or [PLAIN.name]))
    _one_of("variant", names, list(VARIANTS))
    from offline.demo_world.generate import generate

    chosen = SPLITS[SPLITS.index(cast("Any", split))]
    folder = out or work / "videos" / (split if names == [PLAIN.name] else f"{split}-variants")
    counts = FULL[chosen] if full else Counts(violations, look_alikes, others)
    with _told():
        manifest = generate(work / "art", folder, chosen, counts, Console(), seed=seed, workers=workers, variants=names)
    Console().print(f"wrote {manifest}", soft_wrap=True)


@app.command()
def audit(
    manifests: Annotated[list[Path], typer.Argument(help="Labelled videos, JSONL or CSV; several count as one.")],
    policy: PolicyFile = None,
    out: Annotated[Path | None, typer.Option(help="File for the report as JSON.")] = None,
    balanced_out: Annotated[Path | None, typer.Option(help="Manifest (JSONL) of a balanced subset.")] = None,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Of each issue, and clean ones; as many as the rarest has if not given.")
    ] = None,
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Class balance, durations, duplicates, leaks between splits, and files that cannot be decoded.

    Exit code 1 where a video or a group is in several splits, or a file is broken. Decodes in processes of its own,
    without the router's confinement: audit files of strangers where nothing else is at stake.
    """
    from offline.audit import report, show
    from offline.duplicates import look_at_all
    from offline.subsets import balanced

    console = Console()
    with _told():
        target = None if balanced_out is None else _jsonl(balanced_out)
        issues = load_policy(policy or default_policy_path()).issue_ids
        rows = [row for manifest in manifests for row in read_manifest(manifest, issues=issues)]
        looked = look_at_all(rows, console, workers=workers)
        found = report(rows, looked)
        show(found, console)
        if out is not None:
            _write_text(out, json.dumps(found.as_json(), indent=2, ensure_ascii=False) + "\n")
        if target is not None:
            subset = balanced(rows, looked, per_class=per_class, seed=seed)
            write_manifest(subset, target)
            console.print(f"wrote {len(subset)} videos to {target}", soft_wrap=True)
    if not found.clean:
        raise typer.Exit(1)


@app.command()
def split(
    manifest: Manifest,
    out: Annotated[Path, typer.Option(help="The manifest with splits, JSONL.")],
    shares: Annotated[str, typer.Option(help="Of the videos.")] = "train=0.8,calibration=0.1,test=0.1",
    policy: PolicyFile = None,
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Split videos so that duplicates, near-duplicates and groups stay together and issues are spread alike."""
    from offline.audit import counts_table
    from offline.duplicates import look_at_all
    from offline.subsets import split_rows

    console = Console()
    with _told():
        wanted, target = parse_shares(shares), _jsonl(out)
        rows = read_manifest(manifest, issues=load_policy(policy or default_policy_path()).issue_ids)
        looked = look_at_all(rows, console, workers=workers)
        divided = split_rows(rows, looked, wanted, seed=seed)
        write_manifest(divided, target)
    names = sorted({issue for row in rows for issue in row.issues})
    counted = {}
    for each in wanted:
        inside = [row for row in divided if row.split == each]
        counted[each] = {"all": len(inside), **{name: sum(name in row.truth for row in inside) for name in names}}
    console.print(counts_table("Videos", ["all", *names], counted))
    console.print(f"wrote {out}", soft_wrap=True)


def parse_shares(text: str) -> dict[str, float]:
    """Shares of splits from `name=share,name=share`; they sum to 1.

    Raises:
        ValueError: it is written otherwise.
    """
    wanted: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (each.strip() for each in part.partition("="))
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not name or name in wanted or not 0 < value <= 1:
            raise ValueError(f"{part.strip()!r}: shares are written as train=0.8,test=0.2, each between 0 and 1")
        wanted[name] = value
    if not math.isclose(sum(wanted.values()), 1.0, abs_tol=1e-6):
        raise ValueError(f"the shares sum to {sum(wanted.values()):g}; they sum to 1")
    return wanted


@app.command()
def datasets(
    manifest: Manifest,
    out: Annotated[Path, typer.Option(help="Folder of d1.jsonl, d2.jsonl and d3.jsonl.")],
    policy: PolicyFile = None,
    template: Annotated[str, typer.Option(help="Prompts of D3: P1, P2, P3 or P4.")] = "P2",
    samples: Annotated[int | None, typer.Option(min=1, help="Lines of each; as many as there can be if none.")] = None,
    splits: Annotated[
        list[str] | None, typer.Option("--split", help="Repeatable; train if the manifest has it.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="d1, d2 or d3 to leave out; repeatable.")] = None,
    demo_world: Annotated[bool, typer.Option("--demo-world", help="Draw D1 and D2 from the shots' objects.")] = False,
    seed: Seed = 0,
) -> None:
    """Write question-answer pairs (D1), captions (D2) and classification (D3) in equal numbers."""
    if demo_world:
        from services.torchvision_compat import ensure_torchvision

        ensure_torchvision()
    from offline.datasets.build import build, counts
    from offline.datasets.lines import DATASETS, write_lines
    from offline.datasets.material import OwnMaterial, WorldMaterial

    templates = list(get_args(PromptName))
    _one_of("template", [template], templates)
    _one_of("data set", without or [], list(DATASETS))
    with _told():
        rules = load_policy(policy or default_policy_path())
        rows = read_manifest(manifest, issues=rules.issue_ids)
        known = {row.split for row in rows}
        rows = [row for row in rows if row.split in (splits or ({"train"} if known - {""} else {""}))]
        if not rows:
            raise ManifestError([f"{manifest}: no video is of the split; there are {sorted(known)}: choose by --split"])
        material = WorldMaterial(rules, rows, seed=seed) if demo_world else OwnMaterial()
        lines = build(
            rows, rules, material, out, template=cast("PromptName", template), samples=samples,
            without=cast("Any", without or ()), seed=seed,
        )  # fmt: skip
        write_lines(lines, out)
    table = Table("data set", "level", "lines", "Yes", "No")
    for row in counts(lines):
        table.add_row(*map(str, row))
    Console().print(table)


def _jsonl(path: Path) -> Path:
    if path.suffix != ".jsonl":
        raise ValueError(f"{path}: manifests are written as .jsonl")
    return path


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
