"""Lets `import torchvision` succeed beside a torch build that its C++ operators were not compiled for."""

import importlib.machinery
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@lru_cache(maxsize=1)
def ensure_torchvision() -> None:
    """Makes torchvision importable; call it before anything that imports torchvision (open_clip, timm, LLaVA).

    PyPI's torchvision is a CUDA build. Beside a CPU torch its C++ operators do not load, and its import then fails with
    `operator torchvision::nms does not exist` (pytorch/vision issue 9085). Declaring the two schemas first is enough:
    nothing here calls the operators. Where the operators do load, nothing is declared. Calling it again does nothing.
    """
    # Not importlib.util: in vLLM's processes that would ask the finder which calls this function.
    spec = importlib.machinery.PathFinder.find_spec("torchvision")
    if "torchvision" in sys.modules or spec is None or spec.origin is None:
        return
    import torch

    if _operators_load(Path(spec.origin).parent):
        return
    make_library: Any = torch.library.Library  # untyped in some versions of torch
    library = make_library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    # A registration ends with its library object, so that the object is kept where its operators are.
    vars(torch.ops.torchvision)["_winnow_schemas"] = library


def _operators_load(package: Path) -> bool:
    """Loads torchvision's C++ operators as torchvision would, and says whether that worked."""
    import torch

    load: Any = torch.ops.load_library
    for path in sorted((*package.glob("_C*.so"), *package.glob("_C*.pyd"))):
        try:
            load(str(path))
        except (OSError, ImportError):
            continue
        return True
    return False
