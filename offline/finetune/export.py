"""Writes a fine-tuned checkpoint: adapters merged, published names, processor and tokenizer beside the weights."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from offline.finetune.model import load_config, load_model, load_processor, load_trained
from offline.finetune.recipe import Recipe

_OURS, _PUBLISHED = "vision_tower.", "vision_tower.vision_model."


def export(model: str, revision: str | None, recipe: Recipe, weights: Mapping[str, torch.Tensor], folder: Path) -> Path:
    """Write the checkpoint that transformers, vLLM and the ranker load, in the number format of the original.

    The original is loaded anew on the CPU, so that adapters are merged in float32.

    Args:
        model: directory or hub id of the checkpoint that was fine-tuned.
        revision: of a hub id.
        recipe: by which it was.
        weights: what was trained, see `model.trained_state`.
        folder: is replaced when everything is written.

    Raises:
        ValueError: the weights are of another recipe.
    """
    config = load_config(model, revision)
    tuned = load_model(model, revision, recipe, dtype=torch.float32)
    load_trained(tuned, weights)
    if recipe.lora is not None:
        tuned = tuned.merge_and_unload()
    dtype = getattr(config, "dtype", None) or torch.bfloat16
    tuned = tuned.to(dtype)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    tuned.save_pretrained(partial)
    _publish(partial)
    load_processor(model, revision).save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return folder


def _publish(folder: Path) -> None:
    """Rename the vision tower's weights: transformers leaves out a level that published checkpoints have."""
    from safetensors.torch import load_file, save_file

    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        save_file({published(name): tensor for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.exists():
        document = json.loads(index.read_text(encoding="utf-8"))
        document["weight_map"] = {published(name): file for name, file in document["weight_map"].items()}
        index.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def published(name: str) -> str:
    """The name of a weight in published LLaVA checkpoints, which vLLM wants."""
    return name.replace(_OURS, _PUBLISHED, 1) if _OURS in name and _PUBLISHED not in name else name
