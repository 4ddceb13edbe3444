"""Loads a checkpoint's model and processor, says what of it is trained, and hands out the trained weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from offline.finetune.recipe import Lora, Recipe
from services.torchvision_compat import ensure_torchvision

_EYES = ("vision_tower", "visual")
_PROJECTORS = ("multi_modal_projector", "image_newline", "visual.merger")


def load_processor(model: str, revision: str | None) -> Any:
    """The processor of a checkpoint: a directory (nothing is downloaded then) or a hub id.

    Raises:
        ValueError: there is none.
    """
    return _load(transformers.AutoProcessor, model, revision)


def load_config(model: str, revision: str | None) -> Any:
    """The configuration of a checkpoint.

    Raises:
        ValueError: there is none.
    """
    return _load(transformers.AutoConfig, model, revision)


def load_model(model: str, revision: str | None, recipe: Recipe, *, dtype: torch.dtype) -> Any:
    """The model, with adapters if the recipe has them; exactly what the recipe trains requires a gradient.

    Args:
        model: directory or hub id.
        revision: of a hub id.
        recipe: what is trained.
        dtype: of the weights. Adapters, and a projector that is trained beside them, are float32 in any case.

    Raises:
        ValueError: the checkpoint cannot be loaded, or has no layers of the names that should get adapters.
    """
    loaded = _load(transformers.AutoModelForImageTextToText, model, revision, dtype=dtype)
    if recipe.lora is not None:
        loaded = _with_adapters(loaded, recipe.lora, recipe)
    for name, parameter in loaded.named_parameters():
        parameter.requires_grad_(_trained(name, recipe))
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return loaded


def training_dtype(recipe: Recipe) -> torch.dtype:
    """Of the weights: bfloat16 where adapters are trained beside them, float32 where they are trained themselves."""
    return torch.bfloat16 if recipe.precision == "bf16" and recipe.lora is not None else torch.float32


def trained_state(model: Any) -> dict[str, torch.Tensor]:
    """What is trained, by name, on the CPU."""
    return {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}


def load_trained(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Put back what `trained_state` gave.

    Raises:
        ValueError: it is of another model or of another recipe.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if trained.keys() != state.keys():
        raise ValueError("the checkpoint of the training holds other weights than the recipe trains")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(state[name])


def fingerprint_of(model: str, config: Any) -> str:
    """Of a checkpoint: the hash of its files, or the hub id and its commit."""
    from services.calibration import checkpoint_fingerprint

    folder = Path(model)
    return checkpoint_fingerprint(folder) if folder.is_dir() else f"{model}@{getattr(config, '_commit_hash', None)}"


def _trained(name: str, recipe: Recipe) -> bool:
    if recipe.lora is not None and ".lora_" in name:
        return True
    if any(part in name for part in _PROJECTORS):
        # Beside adapters, PEFT trains a copy and keeps the original.
        return recipe.train_projector and (recipe.lora is None or "modules_to_save" in name)
    if any(part in name for part in _EYES):
        return recipe.train_vision
    return recipe.lora is None


def _with_adapters(model: Any, lora: Lora, recipe: Recipe) -> Any:
    import peft

    names = "|".join(lora.modules)
    projectors = [
        name for name, _ in model.named_modules() if name.endswith(("multi_modal_projector", "visual.merger"))
    ]
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=rf"(.*\.)?language_model\..*\.({names})",
        modules_to_save=projectors if recipe.train_projector else None,
    )
    try:
        return peft.get_peft_model(model, config)
    except ValueError as error:
        raise ValueError(f"no adapters on {', '.join(lora.modules)}: {error}") from error


def _load(kind: Any, model: str, revision: str | None, **more: Any) -> Any:
    local = Path(model).is_dir()
    if not local and (Path(model).is_absolute() or model.startswith(".") or model.count("/") != 1):
        raise ValueError(f"{model} is neither a directory nor a hub id (`owner/name`)")
    ensure_torchvision()
    transformers.utils.logging.disable_progress_bar()
    try:
        return kind.from_pretrained(model, local_files_only=local, revision=revision or "main", **more)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ValueError(f"{model} cannot be loaded as an image-text model: {error}") from error
