"""`winnow seeds select`: choose seeds from known violations and write them as a manifest for the bank."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from offline.manifest import read_manifest
from offline.selection.choose import METHODS, Method
from offline.selection.select import MOST, NEAR_DUPLICATE, Chosen, select_seeds, write_seeds
from offline.stages import ROUTER_MODEL, SEED_FRAMES, SHORT_SIDE
from services.policy import default_policy_path, load_policy

BANK = Path("build/lab/videos/bank/manifest.jsonl")


def select(
    out: Annotated[Path, typer.Option(help="Folder for the seed manifest.")],
    manifest: Annotated[
        Path, typer.Argument(help="Known violations, JSONL or CSV; default: the demo world's split `bank`.")
    ] = BANK,
    policy: Annotated[Path | None, typer.Option(help="Policy whose issues the labels name; default: bundled.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits of the manifest; repeatable; default: all.")] = None,
    issue: Annotated[
        list[str] | None, typer.Option(help="Issues to choose seeds of; repeatable; default: all.")
    ] = None,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "centroid-proximity",
    count: Annotated[int | None, typer.Option(min=1, help="Seeds an issue; default: the data says.")] = None,
    most: Annotated[int, typer.Option("--max", min=1, help="Most seeds of an issue, without --count.")] = MOST,
    near_duplicate: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Cosine above which one of two segments is dropped; 1: copies alone."),
    ] = NEAR_DUPLICATE,
    model: Annotated[
        str, typer.Option(help="The router's encoder, as its setting MODEL takes it; default: bundled.")
    ] = "",
    pretrained: Annotated[str | None, typer.Option(help="Tag of the weights, for an open_clip name.")] = None,
    frames: Annotated[int, typer.Option(min=1, max=64, help="Of each segment.")] = SEED_FRAMES,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the videos beside the manifest.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of every choice.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Choose seeds from a pool of known violations: of each cluster the real segment nearest its centroid.

    What it writes is read by `winnow seeds import`.
    """
    told = Console(stderr=True)
    if method not in METHODS:
        raise typer.BadParameter(f"{method!r} is none of {', '.join(METHODS)}", param_hint="--method")
    try:
        rules = load_policy(policy or default_policy_path())
        if unknown := sorted(set(issue or ()) - set(rules.issue_ids)):
            raise ValueError(f"{unknown[0]!r} is no issue of the policy; there are {', '.join(rules.issue_ids)}")
        rows = read_manifest(manifest, issues=rules.issue_ids, splits=split)
        from offline.selection.pool import embed_pool, violating
        from services.encoder.open_clip import load_encoder

        encoder = load_encoder(model or str(ROUTER_MODEL), pretrained)
        pool = embed_pool(encoder, violating(rows, frames=frames, issues=issue or ()), told, short_side=SHORT_SIDE)
        chosen = select_seeds(
            pool, _method(method), count=count, most=most, near_duplicate=near_duplicate, seed=seed, issues=issue or ()
        )
        written = write_seeds(chosen, _method(method), out, copy=copy)
    except (ValueError, RuntimeError, OSError) as error:
        told.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    for file, why in pool.unreadable:
        told.print(f"left out: {file}: {why}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(document(chosen, method, encoder.fingerprint, written, len(pool.unreadable)), indent=2))
        return
    console = Console()
    console.print(table(chosen))
    console.print(f"wrote {written}", markup=False, highlight=False, soft_wrap=True)


def document(chosen: list[Chosen], method: str, encoder: str, manifest: Path, unreadable: int) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "manifest": str(manifest),
        "method": method,
        "encoder": encoder,
        "unreadable": unreadable,
        "issues": [
            {
                "issue": each.issue,
                "pool": each.pool,
                "distinct": each.distinct,
                "seeds": len(each.seeds),
                "nearest": round(each.nearest, 4),
                "held_out": {str(k): round(v, 4) for k, v in each.sweep.scores.items()} if each.sweep else None,
            }
            for each in chosen
        ],
    }


def table(chosen: list[Chosen]) -> Table:
    """What people are shown."""
    shown = Table(caption="cosine: with the nearest seed, on average")
    for column in ("issue", "known violations", "distinct", "seeds", "cosine"):
        shown.add_column(column, justify="left" if column == "issue" else "right")
    for each in chosen:
        shown.add_row(each.issue, *map(str, (each.pool, each.distinct, len(each.seeds))), f"{each.nearest:.3f}")
    return shown


def _method(name: str) -> Method:
    return next(method for method in METHODS if method == name)
